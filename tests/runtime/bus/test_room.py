from runtime.bus.bus import Bus, BusFull
from schemas.bus.subjects import Role
from tests.fakes.caller import until
from tests.fakes.nats import NatsServer

PIECE_BYTES = 256 * 1024
PIECES = 480


async def test_waiting_for_room_ends():
    """Who published until BusFull and waits for room is woken, whether or not the socket was ever paused."""
    heard = 0

    def count(message):
        nonlocal heard
        heard += len(message.data)

    with NatsServer(signed=False) as server:
        options = {"name": "test", "on_closed": lambda: None}
        sender = await Bus.connect(server.settings(Role.EDGE), Role.EDGE, **options)
        hearer = await Bus.connect(server.settings(Role.WORKER), Role.WORKER, **options)
        await hearer.subscribe("worker.w1", count)
        for index in range(PIECES):
            try:
                sender.publish("worker.w1", b"x" * PIECE_BYTES)
            except BusFull:
                await sender.room(5)
                sender.publish("worker.w1", b"x" * PIECE_BYTES)
            if index % 40 == 39:  # the hearer keeps up: this is about the sender
                sent = (index + 1) * PIECE_BYTES
                await until(lambda sent=sent: heard >= sent - PIECE_BYTES, 10, "the hearer keeps up")
        await sender.close()
        await hearer.close()
