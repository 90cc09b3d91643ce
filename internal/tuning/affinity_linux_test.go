package tuning

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// GOMAXPROCS follows the processors that the process may use, also after it was set.
func TestProcessorsAreRecounted(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("this machine has one processor")
	}
	g := usual(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	for cpu := range 1024 {
		if before.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	g.recount()
	if got := runtime.GOMAXPROCS(0); got != 1+extra {
		t.Errorf("with one processor GOMAXPROCS is %d, want %d", got, 1+extra)
	}
	if err := unix.SchedSetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	g.recount()
	if got := runtime.GOMAXPROCS(0); got != before.Count()+extra {
		t.Errorf("with %d processors GOMAXPROCS is %d", before.Count(), got)
	}
}
