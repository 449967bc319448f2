"""Runs wstest, and replaces every text message by a binary message with the same bytes.

wsmux's wires have no text messages. Apart from that, the cases are the suite's own. Like the suite, this needs
Python 2.7.
"""

from autobahn.websocket.protocol import WebSocketProtocol
from autobahntestsuite import fuzzing, wstest
from autobahntestsuite.case import case10_1_1

TEXT, BINARY = 1, 2


def send_frame(self, opcode, *args, **kwargs):
    if opcode == TEXT:
        self.says_text, opcode = True, BINARY
    return WebSocketProtocol.sendFrame(self, opcode, *args, **kwargs)


def send_message(self, payload, isBinary=False, *args, **kwargs):
    if not isBinary:
        self.says_text = True
    return WebSocketProtocol.sendMessage(self, payload, True, *args, **kwargs)


def on_message(self, payload, isBinary):
    if self.runCase:
        # No test case sends both text and binary messages.
        text = getattr(self, "says_text", False)
        self.runCase.onMessage(payload, isBinary and not text)


lost = case10_1_1.Case10_1_1.onConnectionLost


def on_connection_lost(self, failedByMe):
    # This test case counts its frames by opcode.
    self.p.txFrameStats[TEXT] = self.p.txFrameStats.get(BINARY, 0)
    lost(self, failedByMe)


case10_1_1.Case10_1_1.onConnectionLost = on_connection_lost
for protocol in (fuzzing.FuzzingServerProtocol, fuzzing.FuzzingClientProtocol):
    protocol.sendFrame = send_frame
    protocol.sendMessage = send_message
    protocol.onMessage = on_message

wstest.run()
