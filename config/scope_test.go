package config

import (
	"slices"
	"strings"
	"testing"
)

// modesOfTests are the modes with what makes them so.
var modesOfTests = []struct {
	name string
	mode mode
	argv string
	dir  Begun
}{
	{"first start", firstStart, "", Fresh},
	{"restart", restart, "", AsMember},
	{"restart with --proxy", restart, "--proxy=on", AsMember},
	{"proxy", proxying, "--proxy=on", Fresh},
	{"directory of a proxy", proxying, "", AsProxy},
	{"first start that may become a proxy", firstStart | proxying, "--discovery=http://d.example/token", Fresh},
	{"first start by a token", firstStart, "--discovery=http://d.example/token --discovery-fallback=exit", Fresh},
}

// warned tells whether there is a warning that begins like that.
func warned(in Invocation, text string) bool {
	return slices.ContainsFunc(in.Notes, func(n Note) bool { return n.Warning && strings.HasPrefix(n.Text, text) })
}

// What has no effect in a mode is never a reason to refuse a start, and is warned about: each flag in each mode with a bad value,
// by flag and by variable.
func TestWhatHasNoEffectStopsNoStart(t *testing.T) {
	bad := map[string][]string{} // by flag: values that do not parse, and values that cannot be
	in := func(values string, flags string) {
		for flag := range strings.FieldsSeq(flags) {
			bad[flag] = append(bad[flag], strings.Fields(values)...)
		}
	}
	in("x", `heartbeat-interval pre-vote initial-election-tick-advance snapshot-count max-snapshots max-wals wal-segment-bytes
		initial-cluster-state discovery-fallback strict-reconfig-check auto-promote rejoin snapshot-rate proxy-failure-wait
		proxy-refresh-interval proxy-dial-timeout proxy-write-timeout proxy-read-timeout max-request-bytes max-value-bytes
		max-key-depth max-watches watch-queue history-events history-bytes unsafe-no-fsync force-new-cluster auth-recovery
		election-timeout listen-client-urls header-timeout proxy log-level metrics runtime-tuning enable-v2 bcrypt-cost`)
	in("0", "heartbeat-interval wal-segment-bytes max-watches watch-queue history-events history-bytes proxy-failure-wait proxy-refresh-interval header-timeout")
	in("1000", "bcrypt-cost")
	in("x http://h:1/path http://h", "listen-peer-urls initial-advertise-peer-urls advertise-client-urls")
	in("http://:2380 http://h:0 http://:2379,http://:4001", "initial-advertise-peer-urls advertise-client-urls")
	in("http://a.name:1 https://127.0.0.1:1", "listen-peer-urls listen-client-urls")
	in("http://:1,http://127.0.0.1:1", "listen-client-urls")
	in("a\x01b", "name")
	in("x", `client-cert-auth client-cert-login auto-tls peer-client-cert-auth peer-auto-tls peer-verify-san tls-min-version tls-max-version cipher-suites`)
	in("TLS1.0", "tls-min-version tls-max-version")
	in("NOPE TLS_RSA_WITH_RC4_128_SHA TLS_AES_128_GCM_SHA256", "cipher-suites")
	in("c", `cert-file key-file client-crl-file client-cert-allowed-hostname peer-cert-file peer-key-file peer-crl-file
		peer-cert-allowed-cn peer-cert-allowed-hostname`) // each needs another flag
	in("true", "client-cert-auth peer-client-cert-auth peer-verify-san")
	limited := scopes()
	for _, m := range modesOfTests {
		begun := func(Config) Begun { return m.dir }
		for flag, values := range bad {
			if flag == "proxy" && m.dir == Fresh || strings.Contains(m.argv, flag+"=") {
				continue // it says what the mode is
			}
			scope, some := limited[flag]
			matters := (!some || scope&m.mode != 0) && flag != "metrics" && flag != "enable-v2"
			for _, value := range values {
				flags := append(words(m.argv), "--data-dir=d", "--advertise-client-urls=http://h:1")
				variable := "ETCD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) + "=" + value
				if flag == "advertise-client-urls" {
					flags = flags[:len(flags)-1]
				}
				byFlag, errFlag := Parse(append(flags, "--"+flag+"="+value), nil, begun)
				byVariable, errVariable := Parse(flags, []string{variable}, begun)
				if (errFlag != nil) != matters || (errVariable != nil) != matters {
					t.Errorf("%s: --%s=%q: %v; %s: %v; want a refusal: %v", m.name, flag, value, errFlag, variable, errVariable, matters)
				}
				want := "--" + flag + " is ignored, since it has no effect"
				if !matters && (!warned(byFlag, want) || !warned(byVariable, want)) {
					t.Errorf("%s: --%s=%q is not warned about: %v, %v", m.name, flag, value, byFlag.Notes, byVariable.Notes)
				}
			}
		}
	}
}

// Rules about several flags are as lenient as those about one.
func TestRulesAboutFlagsWithoutEffect(t *testing.T) {
	begun := func(c Config) Begun {
		return map[string]Begun{"member": AsMember, "proxy": AsProxy}[c.DataDir]
	}
	const sources = " --discovery-srv=a --initial-cluster=default=http://h:1"
	for _, tt := range []struct {
		argv    string
		refused bool
		note    string
	}{
		{"--data-dir=fresh" + sources, true, ""},
		{"--data-dir=member" + sources, false, "--initial-cluster is ignored, since it has no effect on a member that has data: multiple"},
		{"--data-dir=proxy" + sources, true, ""},
		{"--data-dir=fresh --heartbeat-interval=300", true, ""},
		{"--data-dir=proxy --heartbeat-interval=300", false, "--heartbeat-interval is ignored, since it has no effect on a proxy: "},
		{"--data-dir=fresh --proxy=on --listen-client-urls=http://:2380", false, ""}, // the default of --listen-peer-urls
		{"--data-dir=fresh --listen-client-urls=http://:2380 --advertise-client-urls=http://h:2380", true, ""},
		{"--data-dir=proxy --peer-addr=127.0.0.1:1 --initial-advertise-peer-urls=http://h:1", false, "--initial-advertise-peer-urls is ignored"},
		{"--data-dir=member --peer-addr=nonsense", false, "--peer-addr is ignored, since it has no effect on a member that has data: "},
	} {
		in, err := Parse(words(tt.argv), nil, begun)
		if (err != nil) != tt.refused || tt.note != "" && !warned(in, tt.note) {
			t.Errorf("Parse(%q) = %v, %v; want a refusal: %v, a note %q", tt.argv, in.Notes, err, tt.refused, tt.note)
		}
	}
}

// The scopes are those of flags there are.
func TestScopesAreOfFlags(t *testing.T) {
	_, groups := newDraft()
	known := map[string]bool{}
	for _, g := range groups {
		for _, r := range g.rows {
			known[r.name] = true
		}
	}
	for flag := range scopes() {
		if !known[flag] {
			t.Errorf("there is no flag --%s", flag)
		}
	}
}

// Variables of another mode, as containers and shared unit files set them.
func TestSharedEnvironments(t *testing.T) {
	advertised := "ETCD_ADVERTISE_CLIENT_URLS=http://:2379,http://:4001"
	peers := "ETCD_INITIAL_ADVERTISE_PEER_URLS=http://:2380"
	for _, tt := range []struct {
		argv, environ string
		begun         Begun
	}{
		{"--proxy on", advertised + " " + peers, Fresh},
		{"", advertised + " " + peers, AsProxy},
		{"", peers, AsMember},
		{"", "ETCD_NAME=/etcd2/etcd", Fresh},
	} {
		if _, err := Parse(words(tt.argv), words(tt.environ), func(Config) Begun { return tt.begun }); err != nil {
			t.Errorf("Parse(%q, %q) of a directory begun as %d: %v", tt.argv, tt.environ, tt.begun, err)
		}
	}
	if _, err := ParseService(nil, words("ETCD_NAME= ETCD_LISTEN_PEER_URLS=x ETCD_DATA_DIR=/dev/null DISC_DATA_DIR=d")); err != nil {
		t.Errorf("a discovery service refuses variables of members: %v", err)
	}
}
