package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWaysToWriteAFlag(t *testing.T) { // F1
	for _, argv := range []string{
		"--name m1 --debug", "-name m1 -debug", "--name=m1 --debug=true", "-name=m1 -debug=1", "--name zed --name m1 --debug=f --debug=T",
	} {
		c := mustParse(t, argv, "").Config
		if c.Name != "m1" || c.Log.Level != "debug" {
			t.Errorf("Parse(%q): name %q, level %q, want m1, debug", argv, c.Name, c.Log.Level)
		}
	}
	if c := mustParse(t, "--name -x", "").Config; c.Name != "-x" {
		t.Errorf("a value that looks like a flag: name %q, want -x", c.Name)
	}
}

func TestBooleans(t *testing.T) { // F1
	for _, word := range words("1 t T TRUE true True") {
		if c := mustParse(t, "--access-log="+word, "").Config; !c.HTTP.AccessLog {
			t.Errorf("--access-log=%s is false", word)
		}
	}
	for _, word := range words("0 f F FALSE false False") {
		if c := mustParse(t, "--access-log --access-log="+word, "").Config; c.HTTP.AccessLog {
			t.Errorf("--access-log=%s is true", word)
		}
	}
	for _, word := range words("yes on TrUe 2 ''") {
		if e := faultsOf(t, "--access-log="+word, ""); e.Exit != 2 {
			t.Errorf("--access-log=%s: exit %d, want 2", word, e.Exit)
		}
	}
}

func TestCommandLinesThatDoNotParse(t *testing.T) {
	for _, tt := range []struct {
		rule, argv, text string
		exit             int
	}{
		{"F3", "-bogus", "flag provided but not defined: -bogus", 2},
		{"F3", "--bogus=1", "flag provided but not defined: -bogus", 2},
		{"F3", "-x", "flag provided but not defined: -x", 2},
		{"F3", "--name", "flag needs an argument: -name", 2},
		{"F3", "--heartbeat-interval abc", `invalid value "abc" for flag -heartbeat-interval: parse error`, 2},
		{"F3", "-debug=maybe", `invalid boolean value "maybe" for -debug: parse error`, 2},
		{"F3", "--proxy maybe", `invalid value "maybe" for flag -proxy: invalid value`, 2},
		{"F3", "---name", "bad flag syntax: ---name", 2},
		{"F3", "-=x", "bad flag syntax: --=x", 2},
		{"F4", "extra", "error verifying flags, 'extra' is not a valid flag. See 'canopy --help'.", 1},
		{"F4", "--debug true", "error verifying flags, 'true' is not a valid flag. See 'canopy --help'.", 1},
		{"F4", "-- --name m1", "error verifying flags, '--name' is not a valid flag.", 1},
		{"F4", "-", "error verifying flags, '-' is not a valid flag.", 1},
		{"F4", "--version extra", "'extra' is not a valid flag.", 1},
		{"F14", "--addr 1.2.3.4", `invalid value "1.2.3.4" for flag -addr: address 1.2.3.4: missing port in address`, 2},
		{"F14", "--addr host:1", "bad IP in address specification", 2},
		{"F14", "--bind-addr 1.2.3.4:http", "bad port in address specification", 2},
		{"F14", "--bind-addr 1.2.3.4:65536", "bad port in address specification", 2},
		{"F15", "--peers a,b", `flag "-peers" is no longer supported.`, 2},
		{"F15", "--peers-file=x", `flag "-peers-file" is no longer supported.`, 2},
		{"3.1", "--cors a.example", "Invalid CORS origin: a.example", 2},
		{"3.1", "--cors http://a.example/x", "Invalid CORS origin: http://a.example/x", 2},
		{"F51", "--host-whitelist http://a.example", "host names have no scheme, port or path", 2},
		{"F13", "--config-file x.yml", "there is no configuration file", 1},
		{"F61", "--check-config --bogus", "flag provided but not defined: -bogus", 1},
	} {
		e := faultsOf(t, tt.argv, "")
		if e.Exit != tt.exit || !strings.HasPrefix(e.Error(), tt.text) && !strings.Contains(e.Error(), tt.text) {
			t.Errorf("%s: Parse(%q) = exit %d, %q, want exit %d, %q", tt.rule, tt.argv, e.Exit, e, tt.exit, tt.text)
		}
		if e.Usage() != (tt.exit == 2) {
			t.Errorf("%s: Parse(%q): Usage() = %v with exit %d", tt.rule, tt.argv, e.Usage(), e.Exit)
		}
	}
}

func TestAllFaultsAreReported(t *testing.T) { // F29
	e := faultsOf(t, "--bogus --max-wals=x extra --unsafe-no-fsync --heartbeat-interval 0 --cert-file c", "ETCD_LOG_LEVEL=loud ETCD_WATCH_QUEUE=0")
	type fact struct{ Flag, Value, Source string }
	var got []fact
	for _, f := range e.Faults {
		got = append(got, fact{f.Flag, f.Value, f.Source.String()})
	}
	want := []fact{
		{"bogus", "", "--bogus"},
		{"max-wals", "x", "--max-wals"},
		{"", "extra", "default"},
		{"log-level", "loud", "ETCD_LOG_LEVEL"},
		{"watch-queue", "0", "ETCD_WATCH_QUEUE"},
		{"cert-file", "c", "--cert-file"},
		{"heartbeat-interval", "0", "--heartbeat-interval"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if lines := strings.Count(e.Error(), "\n") + 1; lines != len(want) {
		t.Errorf("%d lines for %d faults:\n%v", lines, len(want), e)
	}
}

func TestAFaultNamesValueSourceAndWhatIsAllowed(t *testing.T) { // F29
	for _, tt := range []struct{ argv, environ, want string }{
		{"--watch-queue 0", "", "error verifying flags, --watch-queue must be 1 to 1000000 (set to 0). See 'canopy --help'. [--watch-queue=0 from --watch-queue]"},
		{"", "ETCD_MAX_WALS=-1", `invalid value "-1" for ETCD_MAX_WALS: parse error (allowed: 1 to 1000000, or 0 = keep all)`},
		{"--log-level loud", "", `invalid value "loud" for flag -log-level: invalid value (allowed: debug, info, warn, error, fatal, panic, warning (= warn))`},
		{"--listen-client-urls localhost:2379", "ETCD_ADVERTISE_CLIENT_URLS=http://a:1", `invalid value "localhost:2379" for flag -listen-client-urls: URL scheme must be http or https: localhost:2379 (allowed: http://host:port or https://host:port, several with commas)`},
	} {
		if got := faultsOf(t, tt.argv, tt.environ).Error(); got != tt.want {
			t.Errorf("Parse(%q, %q) =\n%s\nwant\n%s", tt.argv, tt.environ, got, tt.want)
		}
	}
}

func TestActions(t *testing.T) { // F5, F61
	for _, tt := range []struct {
		argv string
		want Action
	}{
		{"", Serve}, {"-h", Help}, {"-help", Help}, {"--help", Help}, {"--version", Version}, {"-version", Version},
		{"--check-config", Check}, {"--version --help", Help}, {"--help --bogus extra", Help}, {"--check-config --version", Version},
		{"--version=false --help=false", Serve},
	} {
		if got := mustParse(t, tt.argv, "").Action; got != tt.want {
			t.Errorf("Parse(%q).Action = %d, want %d", tt.argv, got, tt.want)
		}
	}
	// The version does not look at the environment; a dry run does, and is known as one even when it finds faults.
	if got := mustParse(t, "--version", "ETCD_LOG_LEVEL=loud").Action; got != Version {
		t.Errorf("Action = %d, want Version", got)
	}
	in, err := Parse(words("--check-config"), words("ETCD_LOG_LEVEL=loud"), nil)
	if err == nil || in.Action != Check {
		t.Errorf("Action = %d, error %v, want Check and an error", in.Action, err)
	}
	if e := faultsOf(t, "--bogus --help", ""); e.Exit != 2 {
		t.Errorf("a fault before --help: exit %d, want 2", e.Exit)
	}
}

func TestOldAndForeignFlagsAreIgnoredWithAWarning(t *testing.T) { // F16, F59
	for _, argv := range []string{
		"-snapshot --name m1", "--cluster-active-size 9 --name m1", "--cluster-active-size=9 --name m1", "--v --name m1",
		"--quota-backend-bytes 100 --name m1", "--experimental-initial-corrupt-check --name m1", "--grpc-keepalive-timeout 20s --name m1",
		"--experimental-gRPC-addr 127.0.0.1:2378 --name m1", "--auth-token-ttl 300 --name m1", "--auto-compaction-mode=periodic --name m1",
	} {
		in := mustParse(t, argv, "")
		flag, _, _ := strings.Cut(strings.TrimLeft(words(argv)[0], "-"), "=")
		want := `flag "-` + flag + `" is no longer supported - ignoring.`
		if in.Config.Name != "m1" || !hasNote(in, true, want) {
			t.Errorf("Parse(%q): name %q, notes %v, want m1 and %q", argv, in.Config.Name, in.Notes, want)
		}
	}
	in := mustParse(t, "", "ETCD_SNAPSHOT=1 ETCD_EXPERIMENTAL_GRPC_ADDR=x")
	for _, flag := range []string{"snapshot", "experimental-grpc-addr"} {
		if want := `flag "-` + flag + `" is no longer supported - ignoring.`; !hasNote(in, true, want) {
			t.Errorf("notes %v lack %q", in.Notes, want)
		}
	}
}

func hasNote(in Invocation, warning bool, text string) bool {
	for _, n := range in.Notes {
		if n.Text == text && n.Warning == warning {
			return true
		}
	}
	return false
}

func FuzzParseNeverPanics(f *testing.F) {
	f.Add("--name=m1\n--heartbeat-interval\n0x7f", "ETCD_NAME=x")
	f.Add("-\n--\n---\n-=", "ETCD_=\nETCD_X")
	f.Add("--listen-client-urls=http://[::1%25eth0]:1,http://a:b", "ETCD_ADDR=[::]:1")
	f.Add("--initial-cluster\n=,a=,=b,a=http://b:1", "ETCD_HISTORY_BYTES=9999999999GiB")
	f.Fuzz(func(t *testing.T, argv, environ string) {
		in, err := Parse(strings.Split(argv, "\n"), strings.Split(environ, "\n"), nil)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without text")
			}
			return
		}
		if in.Action == Serve {
			_, _ = in.Config.Bootstrap(nil)
			if raft := in.Config.Raft; raft.Election < 5*raft.Heartbeat {
				t.Errorf("the election time-out is %v, the heartbeat %v", raft.Election, raft.Heartbeat)
			}
		}
	})
}
