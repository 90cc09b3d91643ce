package snap

import (
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"canopy/internal/disk"
)

// tree resembles the snapshot of a tree of n keys.
func tree(n int) (b []byte) {
	for i := range n {
		b = fmt.Appendf(b, "/services/group-%d/instance-%d\x00%064x", i/100, i, i*7919)
	}
	return b
}

func BenchmarkSaveAndLoad(b *testing.B) {
	all := tree(200_000)
	d, err := Open(disk.OS{}, filepath.Join(b.TempDir(), "snap"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("save", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(all)))
		for b.Loop() {
			if err := d.Save(Meta{1, 1}, content(all)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("load", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(all)))
		for b.Loop() {
			if err := d.Load(Meta{1, 1}, func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }); err != nil {
				b.Fatal(err)
			}
		}
	})
}
