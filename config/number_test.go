package config

import (
	"strings"
	"testing"
	"time"
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

func TestDurations(t *testing.T) { // F2
	for _, tt := range []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"100", 100 * time.Millisecond, true},
		{"0x64", 100 * time.Millisecond, true},
		{"0X64", 100 * time.Millisecond, true},
		{"0100", 100 * time.Millisecond, true}, // not octal
		{"100ms", 100 * time.Millisecond, true},
		{"1m30s", 90 * time.Second, true},
		{"0", 0, true},
		{"9223372036854", 9223372036854 * time.Millisecond, true},
		{"9223372036855", 0, false},
		{"-1s", 0, false}, {"+1", 0, false}, {"1_000", 0, false}, {"1 s", 0, false}, {"s", 0, false}, {"", 0, false}, {"0x", 0, false},
	} {
		var got time.Duration
		err := timeValue{p: &got}.Set(tt.text)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("Set(%q) = %v, %v, want %v, ok %v", tt.text, got, err, tt.want, tt.ok)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int64
		ok   bool
	}{
		{"0", 0, true}, {"1", 1, true}, {"64KiB", 65536, true}, {"16MiB", 16 << 20, true}, {"1GiB", 1 << 30, true},
		{"0x10KiB", 16384, true}, {"8589934591GiB", 8589934591 << 30, true},
		{"8589934592GiB", 0, false}, {"17179869184GiB", 0, false}, {"64K", 0, false}, {"64 KiB", 0, false}, {"KiB", 0, false}, {"-1MiB", 0, false}, {"1.5MiB", 0, false},
	} {
		var got int64
		err := sizeValue[int64]{p: &got}.Set(tt.text)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("Set(%q) = %d, %v, want %d, ok %v", tt.text, got, err, tt.want, tt.ok)
		}
	}
}

func TestNumbersPrintAsTheyAreWritten(t *testing.T) {
	for size, want := range map[int64]string{0: "0", 1: "1", 1023: "1023", 1024: "1KiB", 1025: "1025", 3 << 20: "3MiB", 2 << 40: "2048GiB"} {
		if got := formatSize(size); got != want {
			t.Errorf("formatSize(%d) = %s, want %s", size, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", time.Second: "1s", 60 * time.Second: "1m", 90 * time.Second: "1m30s", 24 * time.Hour: "24h", 61 * time.Minute: "1h1m", 10 * time.Second: "10s", 10 * time.Minute: "10m"} {
		if got := formatTime(d); got != want {
			t.Errorf("formatTime(%d) = %s, want %s", d, got, want)
		}
	}
}
