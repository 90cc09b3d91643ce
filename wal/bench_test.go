package wal

import (
	"path/filepath"
	"strings"
	"testing"

	"canopy/internal/disk"
)

func benchmarkLog(b *testing.B, o Options) *Log {
	l, err := Create(disk.OS{}, filepath.Join(b.TempDir(), "wal"), nil, o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return l
}

func BenchmarkSync(b *testing.B) {
	for name, n := range map[string]int{"batch=1": 1, "batch=64": 64} {
		b.Run(name, func(b *testing.B) {
			l := benchmarkLog(b, Options{})
			records := make([]Record, n)
			b.ReportAllocs()
			index := uint64(0)
			for b.Loop() {
				for i := range records {
					index++
					records[i] = Record{Kind: entryKind, Index: index, Payload: payload}
				}
				if err := l.Append(records...); err != nil {
					b.Fatal(err)
				}
				if err := l.Sync(); err != nil {
					b.Fatal(err)
				}
				if index%(1<<18) == 0 {
					if err := l.Release(index, 2); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(index)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

var payload = []byte(strings.Repeat("a key and its value ", 7)[:128])

func BenchmarkReplay(b *testing.B) {
	const entries = 200_000
	l := benchmarkLog(b, Options{NoSync: true})
	for i := uint64(1); i <= entries; i++ {
		if err := l.Append(Record{Kind: entryKind, Index: i, Payload: payload}); err != nil {
			b.Fatal(err)
		}
		if i%64 == 0 {
			if err := l.Sync(); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(entries * (128 + 32))
	for b.Loop() {
		l, _, err := Open(disk.OS{}, l.dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		if err := l.Replay(0, func(Kind, uint64, []byte) error { n++; return nil }); err != nil || n != entries {
			b.Fatal(n, err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
