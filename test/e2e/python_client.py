"""A client as the existing Python programs are one: grpcio, a channel that trusts exactly the server's certificate file,
the token INVALID_TOKEN, no deadlines, HELLO on the channel of its req and always with role PROD.

Reads one JSON command per line from stdin and answers each with one JSON line. Messages are encoded by hand, from the
field numbers of the protocol, so that nothing here depends on the .proto file of the server.
"""
import json
import sys
import threading
import time

import grpc

METADATA = (("authorization", "INVALID_TOKEN"),)
HELLO_DELAY_S = 0.5


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def text(field, value):
    data = value.encode()
    return varint(field << 3 | 2) + varint(len(data)) + data


def integer(field, value):
    return varint(field << 3) + varint(value)


def request(uid, role, num_conn, rate):
    return text(1, uid) + text(2, role) + integer(3, num_conn) + integer(4, rate)


def strings(uid, values, role):
    """Hello and UpdateTargets have the same fields: uid, repeated string, role."""
    return text(1, uid) + b"".join(text(2, value) for value in values) + text(3, role)


def read_varint(data, at):
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return result, at


def fields(data):
    """Strings by field number; fields an old client does not know are skipped, as protobuf demands."""
    found = {}
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            _, at = read_varint(data, at)
        elif key & 7 == 2:
            length, at = read_varint(data, at)
            if key >> 3 < 100:
                found.setdefault(key >> 3, []).append(data[at : at + length].decode())
            at += length
        else:
            raise ValueError(f"wire type {key & 7}")
    return found


def response(data):
    found = fields(data)
    return {"listeners": found.get(1, []), "prod_listeners": found.get(2, [])}


def app_response(data):
    found = fields(data)
    return {"message": "".join(found.get(1, [])), "listeners": found.get(2, [])}


class Server:
    def __init__(self, address, certificate):
        with open(certificate, "rb") as file:
            credentials = grpc.ssl_channel_credentials(root_certificates=file.read())
        channel = grpc.secure_channel(address, credentials)
        self.calls = {
            name: channel.unary_unary("/scistream.Control/" + name, lambda data: data, decode)
            for name, decode in (("req", response), ("hello", app_response), ("update", response), ("release", response))
        }

    def call(self, name, data):
        try:
            return self.calls[name](data, metadata=METADATA)
        except grpc.RpcError as error:
            trailing = {key: value for key, value in error.trailing_metadata() or () if isinstance(value, str)}
            return {"error": error.code().name, "details": error.details(), "trailing": trailing}


SERVERS = {}


def start_req(server, uid, role, num_conn, rate=10000):
    """Sends req in a thread. Returns a function that waits for the answer."""
    answer = []
    thread = threading.Thread(
        target=lambda: answer.append(server.call("req", request(uid, role, num_conn, rate))), daemon=True
    )
    thread.start()

    def join():
        thread.join()
        return answer[0]

    return join


def setup(command):
    """One side: req, HELLO half a second later, then both answers and how long req took."""
    server = SERVERS[command["server"]]
    uid = command["uid"]
    begun = time.monotonic()
    join = start_req(server, uid, command["role"], command.get("num_conn", 5))
    time.sleep(HELLO_DELAY_S)
    hello = server.call("hello", strings(uid, command.get("prod_listeners", []), "PROD"))
    return {"req": join(), "hello": hello, "seconds": time.monotonic() - begun}


def many(command):
    """As many set-ups at the same time as there are uids, each announcing addresses of its own."""
    server = SERVERS[command["server"]]
    results = {}

    def one(uid, prod_listeners):
        join = start_req(server, uid, "PROD", 1)
        hello = server.call("hello", strings(uid, prod_listeners, "PROD"))
        results[uid] = {"req": join(), "hello": hello}

    threads = [threading.Thread(target=one, args=item, daemon=True) for item in command["announced"].items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def connect(command):
    SERVERS[command["server"]] = Server(command["address"], command["certificate"])
    return {}


def update(command):
    message = strings(command["uid"], command["remote_listeners"], command["role"])
    return SERVERS[command["server"]].call("update", message)


def release(command):
    return SERVERS[command["server"]].call("release", text(1, command["uid"]))


WAITING = {}


def begin(command):
    """A req whose answer a later `end` gives."""
    join = start_req(SERVERS[command["server"]], command["uid"], command["role"], command.get("num_conn", 5))
    WAITING[command["uid"]] = join
    return {}


def end(command):
    return WAITING.pop(command["uid"])()


def hello(command):
    message = strings(command["uid"], command.get("prod_listeners", []), "PROD")
    return SERVERS[command["server"]].call("hello", message)


OPERATIONS = (connect, setup, many, begin, end, hello, update, release)


def main():
    operations = {operation.__name__: operation for operation in OPERATIONS}
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(operations[command["op"]](command)), flush=True)


main()
