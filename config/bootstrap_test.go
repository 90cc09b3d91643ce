package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"canopy/config/value"
)

// lookupTable resolves the names in it and no others.
func lookupTable(table map[string][]string) Lookup {
	return func(host string) ([]string, error) {
		if found, ok := table[host]; ok {
			return found, nil
		}
		return nil, errors.New("no such host")
	}
}

func TestANameAloneMakesACluster(t *testing.T) { // F21
	b, err := mustParse(t, "--name x", "").Config.Bootstrap(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := value.ClusterText(b.Cluster), "x=http://localhost:2380,x=http://localhost:7001"; got != want || b.Token != "etcd-cluster" {
		t.Errorf("cluster %s, token %s, want %s, etcd-cluster", got, b.Token, want)
	}
}

func TestFirstStarts(t *testing.T) {
	const peer = " --initial-advertise-peer-urls http://127.0.0.1:1 "
	names := lookupTable(map[string][]string{"one.example": {"10.0.0.1", "10.0.0.2"}, "two.example": {"10.0.0.2"}, "three.example": {"10.0.0.3"}})
	for _, tt := range []struct {
		rule, argv string
		want       string // "" for a good one, else what the one fault begins with
	}{
		{"F28", peer + "--initial-cluster default=http://127.0.0.1:1", ""},
		{"3.2", peer + "--initial-cluster ,default=http://127.0.0.1:1,,", ""},
		{"3.2", "--initial-advertise-peer-urls http://127.0.0.1:1,http://127.0.0.1:2 --initial-cluster default=http://127.0.0.1:2,default=http://127.0.0.1:1", ""},
		{"F27", "--name m4 --initial-cluster default=http://localhost:2380", `couldn't find local name "m4" in the initial cluster configuration`},
		{"F27", "--initial-cluster ,", `couldn't find local name "default" in the initial cluster configuration`},
		{"F27", peer + "--initial-cluster default=http://127.0.0.1:1,default=http://127.0.0.1:1", "initial cluster default=http://127.0.0.1:1,default=http://127.0.0.1:1 has duplicate url"},
		{"F27", "--initial-cluster default=foo", "error setting up initial cluster: URL scheme must be http or https: foo"},
		{"F27", "--initial-cluster foo", "error setting up initial cluster: \"foo\" is not name=URL (allowed: name=http://host:port, several with commas)"},
		{"F28", peer, "--initial-cluster must include default=http://127.0.0.1:1 given --initial-advertise-peer-urls=http://127.0.0.1:1; forgot to set --initial-cluster flag?"},
		{"F28", "--initial-cluster default=http://127.0.0.1:1", "--initial-cluster must include default=http://localhost:2380,default=http://localhost:7001 given --initial-advertise-peer-urls=http://localhost:2380,http://localhost:7001; forgot to set --initial-advertise-peer-urls flag?"},
		{"F28", peer + "--initial-cluster default=http://127.0.0.1:1,default=http://127.0.0.1:2", "--initial-cluster has 2 URLs for default, of which --initial-advertise-peer-urls lacks some: if two members share the name default, give each its own name; if it is one member, advertise all of http://127.0.0.1:1,http://127.0.0.1:2"},
		{"F28", peer + "--initial-cluster default=http://127.0.0.1:2", "--initial-cluster must include"},
		{"F28", peer + "--initial-cluster default=https://127.0.0.1:1", "--initial-cluster must include"},
		{"B29", peer + "--initial-cluster default=http://localhost:1", "--initial-cluster must include"},
		{"B29", "--initial-advertise-peer-urls http://one.example:1 --initial-cluster default=http://10.0.0.2:1", ""},
		{"B29", "--initial-advertise-peer-urls http://one.example:1 --initial-cluster default=http://two.example:1", ""},
		{"B29", "--initial-advertise-peer-urls http://one.example:1 --initial-cluster default=http://three.example:1", "--initial-cluster must include"},
		{"B29", "--initial-advertise-peer-urls http://10.0.0.3:1,http://one.example:2 --initial-cluster default=http://three.example:1,default=http://10.0.0.1:2", ""},
		{"B29", "--initial-advertise-peer-urls http://nowhere:1 --initial-cluster default=http://nowhere:1", ""},
		{"B29", "--initial-advertise-peer-urls http://nowhere:1 --initial-cluster default=http://10.0.0.1:1", "--initial-cluster must include"},
		{"B22", peer + "--initial-cluster default=http://127.0.0.1:1,m2=http://127.0.0.1:2", ""},
		{"B22", peer + "--initial-cluster default=http://127.0.0.1:1,m2=http://127.0.0.1:1", "initial cluster default=http://127.0.0.1:1,m2=http://127.0.0.1:1 has duplicate url"},
		{"F27", peer + "--initial-cluster m1=http://127.0.0.1:1,m2=http://127.0.0.1:2", "couldn't find local name \"default\" in the initial cluster configuration, which has m1, m2: m1 has the peer URLs of this member, so set --name=m1, or call it default in the list"},
		{"F27", peer + "--initial-cluster m1=http://127.0.0.1:3", "couldn't find local name \"default\" in the initial cluster configuration, which has m1: set --name to one of these, or add default=http://127.0.0.1:1 to --initial-cluster"},
		{"F27", peer + "--initial-cluster ,", "couldn't find local name \"default\" in the initial cluster configuration, which has nobody: "},
		{"F27", peer + "--name a=b", "a list of members cannot hold the name \"a=b\": choose a --name without = and comma"},
		{"F28", peer + "--initial-cluster m1=http://127.0.0.1:1,default=http://127.0.0.1:2", "--initial-cluster must include default=http://127.0.0.1:1 given --initial-advertise-peer-urls=http://127.0.0.1:1; it lists these URLs for m1: set --name=m1, or exchange the names in the list"},
		{"F28", peer + "--initial-cluster default=http://127.0.0.1:2", "--initial-cluster must include default=http://127.0.0.1:1 given --initial-advertise-peer-urls=http://127.0.0.1:1; it has default=http://127.0.0.1:2: change one of the two flags"},
		{"B22", peer + "--initial-cluster default=http://127.0.0.1:1,m2=http://127.0.0.1:1", "initial cluster default=http://127.0.0.1:1,m2=http://127.0.0.1:1 has duplicate url: http://127.0.0.1:1 belongs to default and m2; give each member its own"},
		{"B30", peer + "--initial-cluster-state existing --initial-cluster default=http://127.0.0.1:1,m2=http://127.0.0.1:2", ""},
		{"B30", "--initial-cluster-state existing --discovery http://d.example/token", "discovery URL should not be set when joining existing initial cluster"},
		{"D13", "--discovery http://d.example/token --discovery-proxy 10.0.0.1:3128", ""},
		{"D3", "--discovery d.example/token", "--discovery must be the URL of a token"},
		{"D3", "--discovery http:///token", "--discovery must be the URL of a token"},
		{"B37", "--discovery-srv example.com", ""},
		{"B37", "--discovery-srv example.com. --initial-cluster-state existing", ""},
		{"B37", "--discovery-srv http://example.com", "--discovery-srv must be a DNS domain"},
		{"B37", "--discovery-srv example..com", "--discovery-srv must be a DNS domain"},
		{"F50", "--discovery-srv example.com --discovery-srv-name blue", ""},
		{"F50", "--discovery-srv example.com --discovery-srv-name a.b", "--discovery-srv-name must be a part of a DNS label"},
	} {
		// None of this is looked at on a restart, so Parse lets it pass (B10).
		_, err := mustParse(t, tt.argv, "").Config.Bootstrap(names)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: Bootstrap of %q: %v", tt.rule, tt.argv, err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Exit != 1 || len(e.Faults) != 1 || !strings.HasPrefix(e.Error(), tt.want) {
			t.Errorf("%s: Bootstrap of %q = %v, want exit 1, %s", tt.rule, tt.argv, err, tt.want)
		}
	}
}

func TestABootstrapFaultNamesItsSource(t *testing.T) { // F29
	_, err := mustParse(t, "", "ETCD_INITIAL_CLUSTER=m1=http://h:1").Config.Bootstrap(nil)
	want := `couldn't find local name "default" in the initial cluster configuration, which has m1: set --name to one of these, or add default=http://localhost:2380,default=http://localhost:7001 to --initial-cluster [--initial-cluster=m1=http://h:1 from ETCD_INITIAL_CLUSTER]`
	if err == nil || err.Error() != want {
		t.Errorf("Bootstrap = %v, want %s", err, want)
	}
}

// What was discovered becomes the list of members; until then there is none.
func TestDiscoveredMembers(t *testing.T) {
	b, err := mustParse(t, "--discovery http://d.example/token", "").Config.Bootstrap(nil)
	if err != nil || b.Cluster != nil {
		t.Fatalf("Bootstrap = %v, %v, want no members", b.Cluster, err)
	}
	b, err = b.With(map[string][]string{"m1": {"http://b:1", "http://a:1"}, "m2": {"http://c:1"}})
	if got, want := value.ClusterText(b.Cluster), "m1=http://a:1,m1=http://b:1,m2=http://c:1"; err != nil || got != want {
		t.Errorf("With = %s, %v, want %s", got, err, want)
	}
	if _, err := b.With(map[string][]string{"m1": {"nonsense"}}); err == nil {
		t.Error("With takes nonsense for a URL")
	}
}

// A password in a discovery URL is used, and shown nowhere (D43).
func TestAPasswordIsNotShown(t *testing.T) {
	const secret = "http://me:geheim@d.example/token"
	in := mustParse(t, "--discovery-proxy me:geheim@proxy:3128", "ETCD_DISCOVERY="+secret)
	if c := in.Config; c.Discovery.URL != secret || c.Discovery.Proxy != "me:geheim@proxy:3128" {
		t.Errorf("Discovery = %+v", c.Discovery)
	}
	text := strings.Join(in.Config.Summary(), "\n") + in.Config.Effective()
	for _, n := range in.Notes {
		text += n.Text + "\n"
	}
	text += faultsOf(t, "--discovery "+secret+" --discovery-srv a", "").Error()
	if strings.Contains(text, "geheim") || strings.Count(text, "http://me:xxxxx@d.example/token") < 4 {
		t.Errorf("it is shown, or the URL is not:\n%s", text)
	}
}

func TestTheOldAddresses(t *testing.T) { // F14
	type urls struct{ Listen, Advertise, PeerListen, PeerAdvertise string }
	defaults := urls{"http://localhost:2379,http://localhost:4001", "http://localhost:2379,http://localhost:4001",
		"http://localhost:2380,http://localhost:7001", "http://localhost:2380,http://localhost:7001"}
	with := func(change func(*urls)) urls { u := defaults; change(&u); return u }
	for _, tt := range []struct {
		argv, environ string
		want          urls
	}{
		{"", "", defaults},
		{"--addr 10.0.0.1:4001", "", with(func(u *urls) { u.Advertise, u.Listen = "http://10.0.0.1:4001", "http://[::]:4001" })},
		{"--addr 10.0.0.1:4001 --bind-addr 127.0.0.1:4002", "", with(func(u *urls) { u.Advertise, u.Listen = "http://10.0.0.1:4001", "http://127.0.0.1:4002" })},
		{"--addr 10.0.0.1:4001 --listen-client-urls http://:4003", "", with(func(u *urls) { u.Advertise, u.Listen = "http://10.0.0.1:4001", "http://:4003" })},
		{"--bind-addr [::1]:4002", "", with(func(u *urls) { u.Listen = "http://[::1]:4002" })},
		{"--peer-addr 10.0.0.1:7001", "", with(func(u *urls) { u.PeerAdvertise, u.PeerListen = "http://10.0.0.1:7001", "http://[::]:7001" })},
		{"--peer-addr 10.0.0.1:7001", "ETCD_PEER_BIND_ADDR=10.0.0.1:7002", with(func(u *urls) { u.PeerAdvertise, u.PeerListen = "http://10.0.0.1:7001", "http://10.0.0.1:7002" })},
	} {
		c := mustParse(t, tt.argv, tt.environ).Config
		got := urls{c.ListenClientURLs.String(), c.AdvertiseClientURLs.String(), c.ListenPeerURLs.String(), c.AdvertisePeerURLs.String()}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("Parse(%q, %q) (-want +got):\n%s", tt.argv, tt.environ, diff)
		}
	}
}
