"""Tells of one association in the order in which things happened, whichever thread notices them first (edge).

The thread that reads the connection answers C-STORE requests, and is the last to see that it is closed. Another one
negotiates, and notes that the association is established; the peer waits for it as little as the first thread does.
"""

import threading
from collections.abc import Callable

from fusionnode.flow.observing import IntakeObserver, RemotePeer


class Visit:
    """What was told of one association.

    Args:
        key: tells the association from any other one.

    Attributes:
        how: it ended, as far as that is known before its connection is closed.
    """

    def __init__(self, key: str) -> None:
        self.how = "closed"
        self._key = key
        self._turn = threading.Lock()
        self._begun = False
        self._over = False

    def begin(self, observer: IntakeObserver, describe_peer: Callable[[], RemotePeer]) -> None:
        """Tell that the association was opened, unless that was told; and at once that it ended, where it did."""
        with self._turn:
            if self._begun:
                return
            self._begun = True
            observer.association_opened(self._key, describe_peer())
            if self._over:
                observer.association_ended(self._key, self.how)

    def end(self, observer: IntakeObserver) -> None:
        """Tell that the association is over, unless that was told; of one that was never opened there is nothing."""
        with self._turn:
            if self._begun and not self._over:
                observer.association_ended(self._key, self.how)
            self._over = True
