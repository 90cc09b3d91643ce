package wal

import (
	"fmt"
	"testing"

	"canopy/internal/disk"
)

type rec struct {
	kind    Kind
	index   uint64
	payload string
}

func collect(into *[]rec) func(Kind, uint64, []byte) error {
	return func(k Kind, i uint64, p []byte) error {
		*into = append(*into, rec{k, i, string(p)})
		return nil
	}
}

func TestRecordsComeBackInOrder(t *testing.T) {
	m := disk.NewMem()
	l, err := Create(m, "/wal", []byte("me"), Options{SegmentBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 100; i++ {
		if err := l.Append(Record{1, uint64(i), []byte(fmt.Sprint(i))}, Record{2, 0, []byte(fmt.Sprint("hs", i))}); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	fmt.Println(m, l.Segments())
	l.Close()
	l, meta, err := Open(m, "/wal", Options{SegmentBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	var got []rec
	if err := l.Replay(0, collect(&got)); err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(meta), len(got), got[len(got)-2:])
}
