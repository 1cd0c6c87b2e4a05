"""Tells of one association in the order in which things happened, whichever thread notices them first (edge).

The thread that reads the connection answers most C-STORE requests, and is the last to see that it is closed. Another
one negotiates, and notes that the association is established; the peer waits for it as little as the first thread does.
What comes before that is noted is answered by the other one, while the first may see that the peer is gone.
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
        self._told = False
        self._serving = 0

    def begin(self, observer: IntakeObserver, describe_peer: Callable[[], RemotePeer]) -> None:
        """Tell that the association was opened, unless that was told; and at once that it ended, where it did."""
        with self._turn:
            if self._begun:
                return
            self._begun = True
            observer.association_opened(self._key, describe_peer())
            self._tell_end(observer)

    def enter(self) -> bool:
        """Note that a request is being served, of which `leave` is to be told; False once the association is over."""
        with self._turn:
            self._serving += not self._over
            return not self._over

    def leave(self, observer: IntakeObserver) -> None:
        """Note that a request was served; tell that the association ended, if it did meanwhile and this is the last."""
        with self._turn:
            self._serving -= 1
            self._tell_end(observer)

    def end(self, observer: IntakeObserver) -> None:
        """Note that the association is over, and tell so once nothing is served any more; waits for no request."""
        with self._turn:
            self._over = True
            self._tell_end(observer)

    def _tell_end(self, observer: IntakeObserver) -> None:
        """Tell what is last, once; of an association that was never opened there is nothing."""
        if self._begun and self._over and not self._serving and not self._told:
            self._told = True
            observer.association_ended(self._key, self.how)
