package config

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"canopy/config/value"
)

// words splits a command line or environment written for a test; "”" stands for nothing.
func words(line string) []string {
	list := strings.Fields(line)
	for i := range list {
		list[i] = strings.ReplaceAll(list[i], "''", "")
	}
	return list
}

// mustParse is the invocation of a command line and environment without faults.
func mustParse(t *testing.T, argv, environ string) Invocation {
	t.Helper()
	in, err := Parse(words(argv), words(environ), nil)
	if err != nil {
		t.Fatalf("Parse(%q, %q): %v", argv, environ, err)
	}
	return in
}

// faultsOf is the error of a command line and environment that must have one.
func faultsOf(t *testing.T, argv, environ string) *Error {
	t.Helper()
	_, err := Parse(words(argv), words(environ), nil)
	var faults *Error
	if !errors.As(err, &faults) {
		t.Fatalf("Parse(%q, %q): error %v, want an *Error", argv, environ, err)
	}
	return faults
}

func TestDefaultsAreThoseOfTheReference(t *testing.T) {
	c := mustParse(t, "", "").Config
	for _, tt := range []struct{ what, got, want string }{
		{"name", c.Name, "default"},
		{"data dir", c.DataDir, "default.etcd"},
		{"member dir", c.MemberDir(), "default.etcd/member"},
		{"snapshots", c.SnapDir(), "default.etcd/member/snap"},
		{"log", c.LogDir(), "default.etcd/member/wal"},
		{"peers", c.ListenPeerURLs.String(), "http://localhost:2380,http://localhost:7001"},
		{"clients", c.ListenClientURLs.String(), "http://localhost:2379,http://localhost:4001"},
		{"advertised to peers", c.AdvertisePeerURLs.String(), "http://localhost:2380,http://localhost:7001"},
		{"advertised to clients", c.AdvertiseClientURLs.String(), "http://localhost:2379,http://localhost:4001"},
		{"metrics", c.ListenMetricsURLs.String(), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %q, want %q", tt.what, tt.got, tt.want)
		}
	}
	want := Raft{Heartbeat: 100 * time.Millisecond, Election: time.Second, PreVote: true, AdvanceTicks: true, StrictReconfigCheck: true, AutoPromote: true}
	if diff := cmp.Diff(want, c.Raft); diff != "" {
		t.Errorf("Raft (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Storage{SnapshotCount: 10000, MaxSnapshots: 5, MaxWALs: 5, WALSegmentBytes: 16 << 20}, c.Storage); diff != "" {
		t.Errorf("Storage (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Watch{HistoryEvents: 100_000, HistoryBytes: 64 << 20, Queue: 128, Max: 100_000}, c.Watch); diff != "" {
		t.Errorf("Watch (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Log{Level: "info", Format: "text", Outputs: []string{"stderr"}}, c.Log); diff != "" {
		t.Errorf("Log (-want +got):\n%s", diff)
	}
}

func TestEveryLimitReachesItsField(t *testing.T) {
	c := mustParse(t, `--max-header-bytes 64KiB --max-request-bytes=0x100000 --max-value-bytes 1MiB --max-key-depth 32 --max-key-bytes 4KiB
		--header-timeout 500 --body-timeout 2s --idle-timeout 1m --startup-grace 0 --http2=false --access-log --enable-pprof
		--history-events 7 --history-bytes 128KiB --watch-queue 3 --max-watches 9 --max-connections-per-client 8
		--snapshot-count 0 --max-snapshots 0 --max-wals 2 --wal-segment-bytes 65536 --unsafe-no-fsync`, "").Config
	c.HTTP.Hosts = value.HostPolicy{}
	want := HTTP{MaxHeaderBytes: 64 << 10, MaxRequestBytes: 1 << 20, MaxValueBytes: 1 << 20, MaxKeyDepth: 32, MaxKeyBytes: 4 << 10, MaxPerClient: 8,
		HeaderTimeout: 500 * time.Millisecond, BodyTimeout: 2 * time.Second, IdleTimeout: time.Minute, AccessLog: true, BcryptCost: 10, Pprof: true}
	if diff := cmp.Diff(want, c.HTTP, cmp.AllowUnexported(value.HostPolicy{})); diff != "" {
		t.Errorf("HTTP (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Watch{HistoryEvents: 7, HistoryBytes: 128 << 10, Queue: 3, Max: 9}, c.Watch); diff != "" {
		t.Errorf("Watch (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Storage{SnapshotCount: 10000, MaxWALs: 2, WALSegmentBytes: 64 << 10, UnsafeNoFsync: true}, c.Storage); diff != "" {
		t.Errorf("Storage (-want +got):\n%s", diff)
	}
}

func TestADedicatedLogDirectoryMovesTheLogOnly(t *testing.T) { // B8
	c := mustParse(t, "--name m1 --wal-dir /fast/log", "").Config
	if got := c.LogDir(); got != "/fast/log" {
		t.Errorf("LogDir() = %q, want /fast/log", got)
	}
	if got := c.SnapDir(); got != "m1.etcd/member/snap" {
		t.Errorf("SnapDir() = %q, want m1.etcd/member/snap", got)
	}
}

func TestLoggingFlags(t *testing.T) { // F48
	for _, tt := range []struct{ argv, level, format string }{
		{"", "info", "text"},
		{"--debug", "debug", "text"},
		{"--debug=false --log-level warning", "warn", "text"},
		{"--debug --log-level error", "debug", "text"},
		{"--logger=json", "info", "json"},
		{"--logger=zap", "info", "json"},
		{"--logger=capnslog", "info", "text"},
		{"--log-format=json", "info", "json"},
		{"--log-format=json --logger=zap", "info", "json"},
	} {
		c := mustParse(t, tt.argv, "").Config
		if c.Log.Level != tt.level || c.Log.Format != tt.format {
			t.Errorf("Parse(%q): level %s, format %s, want %s, %s", tt.argv, c.Log.Level, c.Log.Format, tt.level, tt.format)
		}
	}
	c := mustParse(t, "--log-outputs default,stdout,/var/log/canopy", "").Config
	if diff := cmp.Diff([]string{"/var/log/canopy", "stderr", "stdout"}, c.Log.Outputs); diff != "" {
		t.Errorf("Outputs (-want +got):\n%s", diff)
	}
}

func TestEverySettingKnowsItsSource(t *testing.T) { // F60, F61
	c := mustParse(t, "--name m1 --addr 10.0.0.1:4001 --debug --logger json", "ETCD_DATA_DIR=/d ETCD_NAME=m2").Config
	for flag, want := range map[string]string{
		"name": "--name", "data-dir": "ETCD_DATA_DIR", "wal-dir": "default", "advertise-client-urls": "--addr",
		"log-level": "--debug", "log-format": "--logger", "no-such-flag": "default",
	} {
		if got := c.Source(flag).String(); got != want {
			t.Errorf("Source(%q) = %s, want %s", flag, got, want)
		}
	}
}

func TestTheEffectiveConfigurationParsesToItself(t *testing.T) { // F61
	first := mustParse(t, "--name m1 --snapshot-count 0 --bind-addr 127.0.0.1:4001 --cors https://b.example,https://a.example --idle-timeout 90s", "ETCD_DEBUG=1").Config
	var argv []string
	for _, s := range first.Settings() {
		argv = append(argv, "--"+s.Flag+"="+s.Value)
	}
	// F20 and F24 look at what is set, and here everything is.
	argv = remove(remove(argv, "--discovery="), "--discovery-srv=")
	in, err := Parse(argv, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range in.Config.Settings() {
		if want := first.Settings()[i]; s.Value != want.Value {
			t.Errorf("--%s came back as %q, was %q", s.Flag, s.Value, want.Value)
		}
	}
}

func remove(list []string, item string) []string {
	var rest []string
	for _, s := range list {
		if s != item {
			rest = append(rest, s)
		}
	}
	return rest
}
