package config

import (
	"strings"
	"testing"
)

func TestValuesThatCannotBe(t *testing.T) {
	const adv = " --advertise-client-urls http://127.0.0.1:2379"
	for _, tt := range []struct {
		rule, argv string
		want       string // "" for a good one, else what the one fault begins with, after the reference's prefix
	}{
		{"F21", "--name x", ""},
		{"M3", "--name=", "--name must not be empty"},
		{"R79", "--name=a\x00b", "--name must be text without control characters"},
		{"R79", "--name=a\xffb", "--name must be text without control characters"},
		{"F21", "--name=../x", ""},
		{"F21", "--name=../x --data-dir=d", ""},
		{"F19", "--advertise-client-urls http://:2379", "-advertise-client-urls must name a host: http://:2379"},
		{"F19", "--initial-advertise-peer-urls http://:2380", "-initial-advertise-peer-urls must name a host: http://:2380"},
		{"F19", "--advertise-client-urls http://a:0", "-advertise-client-urls must name a port: http://a:0"},
		{"F19", "--advertise-client-urls http://a:1", ""},
		{"F20", "--initial-cluster default=http://a:1 --discovery http://d/t", `multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery" or "discovery-srv"`},
		{"F20", "--discovery-srv a --discovery http://d/t", "multiple discovery or bootstrap flags are set."},
		{"F20", "--initial-cluster default=http://a:1", ""},
		{"F22", "--addr 127.0.0.1:1" + adv, "Set only one of flags -advertise-client-urls and -addr"},
		{"F22", "--bind-addr 127.0.0.1:1 --listen-client-urls http://127.0.0.1:1" + adv, "Set only one of flags -listen-client-urls and -bind-addr"},
		{"F22", "--peer-addr 127.0.0.1:1 --initial-advertise-peer-urls http://127.0.0.1:1", "Set only one of flags -initial-advertise-peer-urls and -peer-addr"},
		{"F22", "--peer-bind-addr 127.0.0.1:1 --listen-peer-urls http://127.0.0.1:1", "Set only one of flags -listen-peer-urls and -peer-bind-addr"},
		{"F23", "--listen-peer-urls http://myhost.example:2380", "expected IP in URL for binding (http://myhost.example:2380)"},
		{"F23", "--listen-metrics-urls http://myhost.example:1", "expected IP in URL for binding (http://myhost.example:1)"},
		{"F23", "--listen-peer-urls http://[::1]:1,http://[fe80::1%25lo]:2,http://localhost:3,http://:4,http://127.0.0.1:0", ""},
		{"T3", "--listen-peer-urls https://127.0.0.1:2380", "cannot listen on TLS for https://127.0.0.1:2380"},
		{"F24", "--listen-client-urls http://127.0.0.1:2379", "-advertise-client-urls is required when -listen-client-urls is set explicitly"},
		{"F24", "--listen-client-urls http://127.0.0.1:2379" + adv, ""},
		{"F24", "--listen-client-urls http://127.0.0.1:2379 --addr 127.0.0.1:2379", ""},
		{"F24", "--listen-client-urls http://127.0.0.1:2379 --discovery http://d/t", ""},
		{"F24", "--listen-client-urls http://127.0.0.1:2379 --discovery http://d/t --discovery-fallback exit", "-advertise-client-urls is required"},
		{"F25", "--listen-peer-urls http://127.0.0.1:1", ""},
		{"F26", "--heartbeat-interval 300", "-election-timeout[1000ms] should be at least as 5 times as -heartbeat-interval[300ms]"},
		{"F26", "--heartbeat-interval 200", ""},
		{"F26", "--heartbeat-interval 201", "-election-timeout[1000ms] should be"},
		{"F26", "--election-timeout 50000", ""},
		{"F26", "--election-timeout 60000", "-election-timeout[60000ms] is too long, and should be set less than 50000ms"},
		{"F26", "--election-timeout 50001", "-election-timeout[50001ms] is too long"},
		{"F26", "--heartbeat-interval 0", "--heartbeat-interval must be >0 (set to 0ms)"},
		{"R81", "--heartbeat-interval 1us", "--heartbeat-interval must be at least 1ms (set to 1µs)"},
		{"R81", "--heartbeat-interval 9223372036854", "-election-timeout[1000ms] should be"},
		{"F35", "--listen-client-urls http://127.0.0.1:2380,http://127.0.0.1:2379" + adv, "-listen-peer-urls and -listen-client-urls cannot both listen on one port: http://localhost:2380 and http://127.0.0.1:2380"},
		{"F35", "--listen-peer-urls http://0.0.0.0:1,http://127.0.0.1:1", "-listen-peer-urls and -listen-peer-urls cannot both listen"},
		{"F35", "--listen-peer-urls http://:1,http://[::1]:1", "-listen-peer-urls and -listen-peer-urls cannot both listen"},
		{"F35", "--listen-peer-urls http://127.0.0.1:0,http://127.0.0.1:0", ""},
		{"F35", "--listen-peer-urls http://127.0.0.1:1,http://127.0.0.2:1,http://[::1]:1", ""},
		{"F48", "--log-format text --logger json", "Set only one of flags -log-format and -logger"},
		{"F48", "--log-outputs ,", "--log-outputs must name at least one output"},
	} {
		_, err := Parse(words(tt.argv), nil, nil)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: Parse(%q): %v", tt.rule, tt.argv, err)
			}
			continue
		}
		e := faultsOf(t, tt.argv, "")
		if e.Exit != 1 || len(e.Faults) != 1 || !strings.HasPrefix(e.Error(), "error verifying flags, "+tt.want) {
			t.Errorf("%s: Parse(%q) = exit %d, %v, want exit 1, %s", tt.rule, tt.argv, e.Exit, e, tt.want)
		}
	}
}

func TestAnUnadvertisedListenerIsExplained(t *testing.T) { // F24
	want := "error verifying flags, -advertise-client-urls is required when -listen-client-urls is set explicitly. See 'canopy --help'. " +
		"[--advertise-client-urls=http://localhost:2379,http://localhost:4001 from default, --listen-client-urls=http://127.0.0.1:1 from --listen-client-urls]\n" +
		"When listening on specific address(es), this canopy process must advertise accessible url(s) to each connected client."
	if got := faultsOf(t, "--listen-client-urls http://127.0.0.1:1", "").Error(); got != want {
		t.Errorf("error =\n%s\nwant\n%s", got, want)
	}
}

// A process that was a proxy is one again, and advertises nothing (F24, B6).
func TestAProxyDirAdvertisesNothing(t *testing.T) {
	for dir, begun := range map[string]Begun{"a-proxy": AsProxy, "a-member": AsMember, "fresh": Fresh} {
		_, err := Parse([]string{"--listen-client-urls=http://127.0.0.1:1", "--data-dir=" + dir}, nil, func(Config) Begun { return begun })
		if (err == nil) != (begun == AsProxy) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestRemarks(t *testing.T) {
	for _, tt := range []struct {
		rule, argv, want string // want is "" for none
	}{
		{"3.1", "", "no data-dir provided, using default data-dir ./default.etcd"},
		{"3.1", "--data-dir=", "no data-dir provided, using default data-dir ./default.etcd"},
		{"3.1", "--data-dir=d", ""},
		{"3.1", "--name=/etcd2/etcd", "no data-dir provided, using default data-dir ./%2Fetcd2%2Fetcd.etcd"},
		{"3.1", "--name=../a\\b", "no data-dir provided, using default data-dir ./..%2Fa%5Cb.etcd"},
		{"F19", "--data-dir=d --advertise-client-urls http://0.0.0.0:1", "advertising http://0.0.0.0:1, which others cannot connect to"},
		{"F19", "--data-dir=d --advertise-client-urls http://[::]:1", "advertising http://[::]:1, which others cannot connect to"},
		{"F56", "--data-dir=d --unsafe-no-fsync", "--unsafe-no-fsync (from --unsafe-no-fsync): acknowledged writes WILL BE LOST when the machine crashes"},
		{"F54", "--data-dir=d --metrics extensive", "--metrics=extensive (from --metrics) has no effect: all metrics are always served"},
		{"F54", "--data-dir=d --metrics basic", ""},
		{"F58", "--data-dir=d --enable-v2", ""},
		{"F58", "--data-dir=d --enable-v2=false", "--enable-v2=false (from --enable-v2) has no effect: the v2 API is always served"},
		{"F57", "--data-dir=d --bcrypt-cost 12", ""},
		{"F48", "--data-dir=d --debug --log-level warn", "--debug (from --debug) overrides --log-level=warn"},
	} {
		in := mustParse(t, tt.argv, "")
		switch {
		case tt.want == "" && len(in.Notes) > 0:
			t.Errorf("%s: Parse(%q): notes %v, want none", tt.rule, tt.argv, in.Notes)
		case tt.want != "" && !hasNote(in, true, tt.want):
			t.Errorf("%s: Parse(%q): notes %v, want %q", tt.rule, tt.argv, in.Notes, tt.want)
		}
	}
}

func TestForceNewCluster(t *testing.T) { // B45, B47
	for argv, want := range map[string]string{
		"": "", "--force-new-cluster": "once", "--force-new-cluster=1": "once", "--force-new-cluster=false": "", "--force-new-cluster=again": "again",
	} {
		if got := mustParse(t, argv, "").Config.Force; got != want {
			t.Errorf("%q means %q, want %q", argv, got, want)
		}
	}
	if _, err := Parse([]string{"--force-new-cluster=maybe"}, nil, func(Config) Begun { return AsMember }); err == nil {
		t.Error("--force-new-cluster=maybe was taken")
	}
}
