package value

import (
	"testing"
	"time"
)

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
