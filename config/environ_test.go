package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVariables(t *testing.T) {
	noDir := Note{true, "no data-dir provided, using default data-dir ./m1.etcd"}
	for _, tt := range []struct {
		rule, argv, environ string
		want                []Note
	}{
		{"F6, F9", "", "ETCD_NAME=m1", []Note{{false, "recognized and used environment variable ETCD_NAME=m1"}, noDir}},
		{"F7", "--name m1", "ETCD_NAME=m2", []Note{{false, "recognized environment variable ETCD_NAME, but unused: shadowed by corresponding flag"}, noDir}},
		{"F8", "--name m1", "ETCD_CORS= ETCD_DATA_DIR=", []Note{noDir}},
		{"F10", "--name m1", "ETCD_FOO=1", []Note{{true, "unrecognized environment variable ETCD_FOO"}, noDir}},
		{"F10", "--name m1", "ETCD_INITIAL_CLUSTERS=a ETCD_LISTN_CLIENT_URL=b", []Note{
			{true, "unrecognized environment variable ETCD_INITIAL_CLUSTERS; is ETCD_INITIAL_CLUSTER meant?"},
			{true, "unrecognized environment variable ETCD_LISTN_CLIENT_URL; is ETCD_LISTEN_CLIENT_URLS meant?"}, noDir}},
		{"F10", "--name m1", "ETCD_PORT_2379_TCP_ADDR=10.0.0.1 ETCD_SERVICE_HOST=10.0.0.1", []Note{
			{true, "unrecognized environment variable ETCD_PORT_2379_TCP_ADDR"},
			{true, "unrecognized environment variable ETCD_SERVICE_HOST"}, noDir}},
		{"F10", "--name m1", "ETCDCTL_PEERS=x PATH=/bin ETCD_UNSUPPORTED_ARCH=arm64 NAME", []Note{noDir}},
		{"F12", "--name m1", "ETCD_VERSION=true", []Note{{false, "recognized environment variable ETCD_VERSION, but unused: it works as a flag only"}, noDir}},
		{"first wins", "", "ETCD_NAME=m1 ETCD_NAME=m2", []Note{{false, "recognized and used environment variable ETCD_NAME=m1"}, noDir}},
		{"text with =", "--name m1 --data-dir d", "ETCD_INITIAL_CLUSTER=m1=http://h:1", []Note{{false, "recognized and used environment variable ETCD_INITIAL_CLUSTER=m1=http://h:1"}}},
	} {
		in := mustParse(t, tt.argv, tt.environ)
		if diff := cmp.Diff(tt.want, in.Notes); diff != "" || in.Config.Name != "m1" {
			t.Errorf("%s: Parse(%q, %q): name %q, notes (-want +got):\n%s", tt.rule, tt.argv, tt.environ, in.Config.Name, diff)
		}
	}
}

func TestABadVariableEndsWithOne(t *testing.T) { // F11
	for _, tt := range []struct{ environ, want string }{
		{"ETCD_HEARTBEAT_INTERVAL=abc", `invalid value "abc" for ETCD_HEARTBEAT_INTERVAL: parse error (allowed: 1ms to 10s)`},
		{"ETCD_DEBUG=maybe", `invalid boolean value "maybe" for ETCD_DEBUG: parse error (allowed: true or false)`},
		{"ETCD_PEERS=a", `flag "-peers" is no longer supported.`},
	} {
		e := faultsOf(t, "", tt.environ)
		if e.Exit != 1 || e.Usage() || e.Error() != tt.want {
			t.Errorf("Parse(%q) = exit %d, %q, want exit 1, %q", tt.environ, e.Exit, e, tt.want)
		}
	}
}

func TestAVariableCountsAsSet(t *testing.T) { // F12
	e := faultsOf(t, "--discovery http://d/t", "ETCD_INITIAL_CLUSTER=m1=http://h:1")
	if len(e.Faults) != 1 || e.Exit != 1 {
		t.Errorf("F20 across flag and variable: exit %d, %v", e.Exit, e)
	}
	e = faultsOf(t, "", "ETCD_LISTEN_CLIENT_URLS=http://127.0.0.1:1")
	if len(e.Faults) != 1 || e.Exit != 1 {
		t.Errorf("F24 by variable: exit %d, %v", e.Exit, e)
	}
}
