package collector

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

// percent is GOGC as it is now.
func percent() uint64 {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func TestCollectionsAreDeferredUntilResumed(t *testing.T) {
	t.Setenv("GOGC", "")
	usual := percent()
	runtime.GC()
	resume := Defer()
	if got := percent(); got != 1600 {
		t.Errorf("GOGC is %d, want 1600", got)
	}
	resume()
	resume()
	if got := percent(); got != usual {
		t.Errorf("GOGC is %d, want %d", got, usual)
	}
}

func TestABigHeapHasTheUsualRoom(t *testing.T) {
	t.Setenv("GOGC", "")
	usual := percent()
	defer Defer()()
	kept := make([]byte, 2*deferredMiB<<20)
	runtime.GC() // as the runtime does when the heap is big
	for began := time.Now(); percent() != usual; runtime.Gosched() {
		if time.Since(began) > time.Minute {
			t.Fatalf("GOGC is still %d after a collection", percent())
		}
	}
	runtime.KeepAlive(kept)
}

func TestTheEnvironmentDecides(t *testing.T) {
	t.Setenv("GOGC", "300")
	usual := percent()
	defer Defer()()
	if got := percent(); got != usual {
		t.Errorf("GOGC is %d, want %d", got, usual)
	}
}
