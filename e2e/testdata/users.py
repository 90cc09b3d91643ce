"""Uses keys, users and roles of the server at argv[1]:argv[2] through python-etcd; what is not as expected is a traceback."""

import sys

import etcd
from etcd.auth import EtcdRole, EtcdUser

host, port = sys.argv[1], int(sys.argv[2])


def client(user=None, password=None):
    return etcd.Client(host=host, port=port, username=user, password=password, allow_reconnect=False)


def refused(what, call, error):
    try:
        call()
    except error:
        return
    raise AssertionError(what + " is not refused with " + error.__name__)


anybody = client()
root = EtcdUser(anybody, "root")
root.password = "rootpw"
root.write()
role = EtcdRole(anybody, "app")
role.acls = {"/app/*": "RW"}
role.write()
bob = EtcdUser(anybody, "bob")
bob.password = "secret"
bob.roles = ["app"]
bob.write()
guest = EtcdRole(anybody, "guest")
guest.acls = {}
guest.write()
anybody.api_execute("/v2/auth/enable", anybody._MPUT)

admin, user = client("root", "rootpw"), client("bob", "secret")
user.write("/app/a", "1", ttl=60)
assert user.read("/app/a").value == "1"
user.write("/app/a", "2", prevValue="1")
refused("a compare", lambda: user.write("/app/a", "3", prevValue="1"), etcd.EtcdCompareFailed)
assert user.write("/app/queue", "x", append=True).key.startswith("/app/queue/")
assert sorted(node.key for node in user.read("/app/", recursive=True).leaves)[0] == "/app/a"
index = user.read("/app/a").etcd_index
user.write("/app/b", "watched")
assert user.watch("/app/b", index=index + 1).value == "watched"
refused("a key elsewhere", lambda: user.write("/other", "1"), etcd.EtcdInsufficientPermissions)
refused("a guest", lambda: client().read("/app/a"), etcd.EtcdInsufficientPermissions)
refused("a wrong password", lambda: client("bob", "guess").read("/app/a"), etcd.EtcdInsufficientPermissions)
refused("users shown to bob", lambda: EtcdUser(user, "root").read(), etcd.EtcdInsufficientPermissions)

role = EtcdRole(admin, "app")
role.read()
assert role.acls == {"/app/*": "RW"}, role.acls
role.revoke("/app/*", "W")
role.write()
assert user.read("/app/a").value == "2"
refused("a revoked right", lambda: user.write("/app/a", "3"), etcd.EtcdInsufficientPermissions)
assert sorted(u["user"] if isinstance(u, dict) else u for u in EtcdUser(admin, "bob").names) == ["bob", "root"]
EtcdUser(admin, "bob").delete()
refused("who was deleted", lambda: user.read("/app/a"), etcd.EtcdInsufficientPermissions)
refused("a user who is not there", lambda: EtcdUser(admin, "bob").read(), etcd.EtcdKeyNotFound)
print("all as expected")
