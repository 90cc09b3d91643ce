package config

import (
	"strings"
	"testing"
)

// TestNoNumberIsTooSmallOrTooLarge gives every numeric flag −1, 0 and huge values (R81). Those in zero may be 0.
func TestNoNumberIsTooSmallOrTooLarge(t *testing.T) {
	zero := map[string]bool{}
	for _, flag := range words(`snapshot-count max-snapshots max-wals memory-budget max-request-bytes max-value-bytes max-key-depth max-key-bytes max-connections-per-client
		proxy-dial-timeout proxy-write-timeout proxy-read-timeout snapshot-rate startup-grace`) {
		zero[flag] = true
	}
	_, groups := newDraft()
	checked := 0
	for _, g := range groups {
		for _, r := range g.rows {
			switch r.value.Type() {
			case "number", "bytes", "time":
			default:
				continue
			}
			if r.noEffect != "" {
				continue
			}
			checked++
			for _, text := range []string{"-1", "1000000000000", "9223372036854775807", "9223372036854775808", "18446744073709551615", "99999999999999999999", "1e3", "1.5", "", " 1"} {
				mustRefuse(t, r.name, text)
			}
			if _, err := Parse([]string{mayBecomeProxy, "--" + r.name + "=0"}, nil, nil); (err == nil) != zero[r.name] {
				t.Errorf("--%s=0: error %v, want it allowed: %v", r.name, err, zero[r.name])
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d numeric flags were found", checked)
	}
}

// mayBecomeProxy gives the flags of members and of proxies an effect.
const mayBecomeProxy = "--discovery=http://d.example/token"

// mustRefuse demands that a value is refused on the command line and in the environment, naming flag or variable.
func mustRefuse(t *testing.T, flag, text string) {
	t.Helper()
	variable := "ETCD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
	if _, err := Parse([]string{mayBecomeProxy, "--" + flag + "=" + text}, nil, nil); err == nil || !strings.Contains(err.Error(), flag) {
		t.Errorf("--%s=%s: error %v, want one that names the flag", flag, text, err)
	}
	if text == "" {
		return // an empty variable counts as not set (F8)
	}
	if _, err := Parse([]string{mayBecomeProxy}, []string{variable + "=" + text}, nil); err == nil || !strings.Contains(err.Error(), variable) {
		t.Errorf("%s=%s: error %v, want one that names the variable", variable, text, err)
	}
}
