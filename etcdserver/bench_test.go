package etcdserver

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"canopy/internal/disk"
	"canopy/store"
)

// BenchmarkDo is a write from Member.Do to its answer, on a real
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
	m, stop := startBench(b, o)
	defer stop()
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

// startBench starts a member; stop ends it.
func startBench(b *testing.B, o Options) (m *Member, stop func()) {
	m, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go m.Run(ctx)
	<-m.Ready()
	return m, func() { cancel(); <-m.Stopped() }
}

// BenchmarkOpen is a start with 200,000 writes of other keys in the log, and no
// snapshot.
func BenchmarkOpen(b *testing.B) {
	o := testOptions(disk.OS{})
	o.DataDir, o.SegmentBytes, o.SnapshotEntries = b.TempDir(), 0, math.MaxUint64
	fill(b, o, 200_000)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		m, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		ctx, stop := context.WithCancel(context.Background())
		stop()
		if err := m.Run(ctx); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// fill writes keys as 64 clients do.
func fill(b *testing.B, o Options, writes int64) {
	m, stop := startBench(b, o)
	defer stop()
	value := strings.Repeat("x", 64)
	var clients errgroup.Group
	var next atomic.Int64
	for range 64 {
		clients.Go(func() error {
			for {
				n := next.Add(1)
				if n > writes {
					return nil
				}
				key, err := store.ParseKey(fmt.Sprintf("bench/%08d", n))
				if err != nil {
					return err
				}
				if _, err := m.Do(context.Background(), store.Set{Key: key, Value: value}); err != nil {
					return err
				}
			}
		})
	}
	if err := clients.Wait(); err != nil {
		b.Fatal(err)
	}
}
