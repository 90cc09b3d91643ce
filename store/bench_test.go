package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"canopy/store/watch"
)

const benchTime Time = 1_700_000_000_000_000_000

var value64 = strings.Repeat("v", 64)

// mustKey is ParseKey for keys that are valid.
func mustKey(raw string) Key {
	k, err := ParseKey(raw)
	if err != nil {
		panic(err)
	}
	return k
}

// filled is a store of count keys with values of 64 bytes, perDir in each directory.
func filled(count, perDir int) (*Store, []Key) {
	s := New(Options{HistoryEvents: 1})
	keys := make([]Key, count)
	for i := range keys {
		keys[i] = mustKey(fmt.Sprintf("/bench/d%06d/key%08d", i/perDir, i))
		if _, err := s.Apply(benchTime, Set{Key: keys[i], Value: strings.Clone(value64)}); err != nil {
			panic(err)
		}
		if i%100 == 99 {
			publish(s)
		}
	}
	publish(s)
	return s, keys
}

// heapOf is the live heap in bytes.
func heapOf() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemoryPerKey checks that a key with a value of 64 bytes takes at most 190 bytes of live heap, in one large directory
// and in many small ones, written in order or not.
func TestMemoryPerKey(t *testing.T) {
	count := 100_000
	if raceEnabled || testing.Short() {
		count = 50_000
	}
	for _, c := range []struct {
		name           string
		perDir, stride int
	}{{"one directory", count, 1}, {"directories of ten", 10, 1}, {"one directory, out of order", count, 7919}} {
		before := heapOf()
		s := New(Options{HistoryEvents: 1})
		for i := range count {
			n := i * c.stride % count
			key := mustKey(fmt.Sprintf("/bench/d%06d/key%08d", n/c.perDir, n))
			if _, err := s.Apply(benchTime, Set{Key: key, Value: strings.Clone(value64)}); err != nil {
				t.Fatal(err)
			}
			if i%100 == 99 {
				publish(s)
			}
		}
		publish(s)
		per := float64(heapOf()-before) / float64(count)
		t.Logf("%s: %.0f bytes a key", c.name, per)
		if per > 190 {
			t.Errorf("%s: %.0f bytes a key, want at most 190", c.name, per)
		}
		runtime.KeepAlive(s)
	}
}

func BenchmarkSet(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("replace/batch=%d", batch), func(b *testing.B) {
			s, keys := filled(200_000, 1000)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := s.Apply(benchTime, Set{Key: keys[i*7919%len(keys)], Value: value64}); err != nil {
					b.Fatal(err)
				}
				if i%batch == 0 {
					publish(s)
				}
			}
		})
	}
	b.Run("new/batch=256", func(b *testing.B) {
		s := New(Options{})
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := s.Apply(benchTime, Set{Key: mustKey(fmt.Sprintf("/bench/%08d", i)), Value: value64}); err != nil {
				b.Fatal(err)
			}
			if i%256 == 0 {
				publish(s)
			}
		}
	})
	b.Run("ttl/batch=256", func(b *testing.B) {
		s, keys := filled(200_000, 1000)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			c := Set{Key: keys[i*7919%len(keys)], Value: value64, TTL: TTL{Set: true, Seconds: uint64(i % 1000)}}
			if _, err := s.Apply(benchTime, c); err != nil {
				b.Fatal(err)
			}
			if i%256 == 0 {
				publish(s)
			}
		}
	})
}

func BenchmarkCommandThroughTheLog(b *testing.B) {
	c := Command(Set{Key: mustKey("/bench/d000001/key00000001"), Value: value64})
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = EncodeCommand(buf[:0], c); err != nil {
			b.Fatal(err)
		}
		if _, err = DecodeCommand(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s, keys := filled(200_000, 1000)
	var buf []byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l, err := s.View().Get(keys[i*7919%len(keys)], ReadOptions{Now: benchTime})
		if err != nil {
			b.Fatal(err)
		}
		buf = l.AppendJSON(buf[:0])
	}
}

func BenchmarkList(b *testing.B) {
	s, _ := filled(200_000, 1000)
	b.ReportAllocs()
	for b.Loop() {
		l, err := s.View().Get(Key{}, ReadOptions{Recursive: true, Now: benchTime})
		if err != nil {
			b.Fatal(err)
		}
		if err := l.WriteJSON(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*200_000/b.Elapsed().Seconds(), "nodes/s")
}

func BenchmarkSaveAndLoad(b *testing.B) {
	s, _ := filled(200_000, 1000)
	b.Run("save", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := s.View().Save(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*200_000/b.Elapsed().Seconds(), "nodes/s")
	})
	saved := save(b, s)
	b.Run("load", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Load(bytes.NewReader(saved), Options{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*200_000/b.Elapsed().Seconds(), "nodes/s")
	})
}

// BenchmarkFanOut publishes one event to many live watchers, each with a goroutine that waits for it.
func BenchmarkFanOut(b *testing.B) {
	for _, watchers := range []int{1, 1000} {
		b.Run(fmt.Sprint(watchers), func(b *testing.B) {
			s, key := New(Options{}), mustKey("/k")
			got := make(chan struct{}, watchers) // has room for all, so that no watcher waits
			for range watchers {
				w, err := s.Watch(key, watch.Options{Stream: true})
				if err != nil {
					b.Fatal(err)
				}
				go func() {
					for {
						if _, err := w.Next(context.Background()); err != nil {
							return
						}
						got <- struct{}{}
					}
				}()
			}
			defer s.CloseWatchers(io.EOF)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Apply(benchTime, Set{Key: key, Value: value64}); err != nil {
					b.Fatal(err)
				}
				publish(s)
				for range watchers {
					<-got
				}
			}
			b.ReportMetric(float64(b.N*watchers)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkExpire(b *testing.B) {
	const keys = 100_000
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		s := New(Options{})
		for i := range keys {
			c := Set{Key: mustKey(fmt.Sprintf("/bench/%08d", i)), Value: value64, TTL: TTL{Set: true, Seconds: 1}}
			if _, err := s.Apply(benchTime, c); err != nil {
				b.Fatal(err)
			}
		}
		publish(s)
		b.StartTimer()
		for s.Expire(benchTime+Time(Second), 1000) > 0 {
			publish(s)
		}
	}
	b.ReportMetric(float64(b.N)*keys/b.Elapsed().Seconds(), "nodes/s")
}
