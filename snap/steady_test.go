package snap

import (
	"bytes"
	"testing"

	"canopy/internal/disk"
)

// No sync of a snapshot has much to write, whether it is saved or imported.
func TestSnapshotsAreSyncedAsTheyGrow(t *testing.T) {
	const size = 8 << 20
	meta := Meta{2, 3}
	here, there := disk.NewMem(), disk.NewMem()
	d := open(t, here)
	save(t, d, meta, random(1, size)) // does not compress
	if err := open(t, there).Import(meta, bytes.NewReader(exported(t, d, meta)), readNothing); err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*disk.Mem{"saved": here, "received": there} {
		if syncs := m.Count(disk.OpSync); syncs < size/syncBytes/2 {
			t.Errorf("%d syncs for %d bytes that were %s", syncs, size, name)
		}
	}
}
