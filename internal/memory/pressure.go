package memory

import (
	"context"
	"runtime/metrics"
	"time"
)

// A budget cannot count everything: a client that reads a listing slowly keeps an old view of the tree in memory, and
// nobody knows how much of it the tree has replaced since. So the size of the heap is checked, too.
const (
	pressureEvery = time.Second
	pressurePart  = 0.6 // of the limit on the process
)

// Watch cuts off clients that do not read their answers when the heap in use exceeds pressurePart of the limit. It
// returns when ctx ends.
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

// ease is one check, with live bytes in use.
func (b *Budget) ease(live int64, limit Limit) {
	if over := live - int64(pressurePart*float64(limit.Bytes)); limit.Bytes > 0 && over > 0 {
		b.cutOff(over)
	}
}

// liveBytes is the heap in use after the last garbage collection.
func liveBytes() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
