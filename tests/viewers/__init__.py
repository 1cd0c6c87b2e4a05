"""What viewers make of the objects written here: real viewers in a headless browser, looked at and measured."""
