package tuning

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

func TestCollectionsAreDeferredDuringRecovery(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMAXPROCS", "2")
	usual := percent()
	runtime.GC()
	done := New(true).DeferGC()
	if got := percent(); got != 1600 {
		t.Errorf("GOGC is %d, want 1600", got)
	}
	done()
	done()
	if got := percent(); got != usual {
		t.Errorf("GOGC is %d, want %d", got, usual)
	}
}

func TestABigHeapHasTheUsualRoom(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMAXPROCS", "2")
	usual := percent()
	defer New(true).DeferGC()()
	kept := make([]byte, 2*deferredMiB<<20)
	runtime.GC() // as the runtime does when the heap is big
	for began := time.Now(); percent() != usual; runtime.Gosched() {
		if time.Since(began) > time.Minute {
			t.Fatalf("GOGC is still %d after a collection", percent())
		}
	}
	runtime.KeepAlive(kept)
}
