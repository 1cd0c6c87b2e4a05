"""Small synthetic studies with known motion, and the code that makes them. No human being was imaged."""
