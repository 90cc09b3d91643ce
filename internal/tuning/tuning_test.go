package tuning

import (
	"runtime"
	"testing"
	"time"
)

// GOMAXPROCS and GOGC in the environment win, and without tuning nothing changes.
func TestSettingsAreLeftAlone(t *testing.T) {
	for _, tt := range []struct {
		name, procs, gogc string
		on                bool
	}{
		{"set in the environment", "3", "300", true},
		{"tuning is off", "", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("GOMAXPROCS", tt.procs)
			t.Setenv("GOGC", tt.gogc)
			procs, gogc := runtime.GOMAXPROCS(0), percent()
			check := func(after string) {
				t.Helper()
				if now := runtime.GOMAXPROCS(0); now != procs {
					t.Errorf("after %s GOMAXPROCS is %d, want %d", after, now, procs)
				}
				if now := percent(); now != gogc {
					t.Errorf("after %s GOGC is %d, want %d", after, now, gogc)
				}
			}
			tuning := New(tt.on)
			check("New")
			defer tuning.DeferGC()()
			check("DeferGC")
			Proxy(tt.on)
			check("Proxy")
			tuning.Synced(time.Millisecond, 1)
			tuning.LeaderChanged(true)
			tuning.Run(t.Context()) // these two return at once
			tuning.PaceGC(t.Context())
		})
	}
}
