package e2e

import (
	"os"
	"runtime"
	"testing"
)

// The runtime is adjusted unless a flag or a variable says otherwise.
func TestRuntimeTuning(t *testing.T) {
	t.Parallel()
	if os.Getenv("GOMAXPROCS") != "" {
		t.Skip("GOMAXPROCS is set, so its default is unknown")
	}
	usual := float64(runtime.GOMAXPROCS(0))
	for _, tt := range []struct {
		name        string
		flags       []string
		environ     []string
		procs, gogc float64
	}{
		{"auto", nil, []string{"GOGC="}, usual + 2, 100},
		{"off", []string{"--runtime-tuning=off"}, []string{"GOGC="}, usual, 100},
		{"off by the variable", nil, []string{"ETCD_RUNTIME_TUNING=off", "GOGC="}, usual, 100},
		{"settings in the environment", nil, []string{"GOMAXPROCS=3", "GOGC=50"}, 3, 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, tt.flags...)
			s.environ = tt.environ
			s.start().waitLine("ready to serve client requests")
			if got := s.metric("go_sched_gomaxprocs_threads"); got != tt.procs {
				t.Errorf("GOMAXPROCS is %v, want %v", got, tt.procs)
			}
			if got := s.metric("go_gc_gogc_percent"); got != tt.gogc {
				t.Errorf("GOGC is %v, want %v", got, tt.gogc)
			}
		})
	}
}
