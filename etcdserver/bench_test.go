package etcdserver

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"canopy/internal/disk"
	"canopy/store"
)

// BenchmarkDo is the way of a write from the door to its answer, on a real
// disk and on one that syncs at once.
func BenchmarkDo(b *testing.B) {
	for name, fs := range map[string]disk.FS{"disk": disk.OS{}, "memory": disk.NewMem()} {
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", name, clients), func(b *testing.B) { benchmarkDo(b, fs, clients) })
		}
	}
}

func benchmarkDo(b *testing.B, fs disk.FS, clients int) {
	o := testOptions(fs)
	o.DataDir, o.SegmentBytes = b.TempDir(), 0
	m, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	go m.Run(ctx)
	defer func() { stop(); <-m.Stopped() }()
	<-m.Ready()
	value := strings.Repeat("x", 64)
	var next atomic.Int64
	b.SetParallelism(clients)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		key, err := store.ParseKey(fmt.Sprint("bench/", next.Add(1)))
		if err != nil {
			b.Error(err)
			return
		}
		for p.Next() {
			if _, err := m.Do(context.Background(), store.Set{Key: key, Value: value}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
