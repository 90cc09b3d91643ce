package memory

import (
	"context"
	"runtime/metrics"
	"time"
)

// Not all can be counted: a client that takes a listing slowly keeps alive what the tree was when it asked, and how much
// of that is gone from the tree meanwhile nobody knows. So the heap itself is looked at too.
const (
	pressureEvery = time.Second
	pressurePart  = 0.6 // of the limit on the process
)

// Watch cuts clients off that do not take their answers, as if the budget was used up, whenever most of the memory that
// the process may use is alive. It returns when ctx ends.
func (b *Budget) Watch(ctx context.Context, limit Limit) {
	tick := time.NewTicker(pressureEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.ease(liveBytes(), limit)
		case <-ctx.Done():
			return
		}
	}
}

// ease is one look, at so many bytes that are alive.
func (b *Budget) ease(live int64, limit Limit) {
	if over := live - int64(pressurePart*float64(limit.Bytes)); limit.Bytes > 0 && over > 0 {
		b.cutOff(over)
	}
}

// liveBytes is what the last collection of garbage has left.
func liveBytes() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
