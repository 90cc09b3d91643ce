package ports

import (
	"testing"

	"canopy/internal/process"
)

// All connections, and the files of the log and snapshots, fit the limit of descriptors (F36).
func TestConnectionsFitTheDescriptors(t *testing.T) {
	for _, tt := range []struct {
		limit, descriptors uint64
		perClient          int
		clients, each      int
	}{
		{151, 1, 0, 17, 16},
		{1024, 1, 0, 890, 877},
		{1024, 2, 0, 445, 439},
		{1024, 1, 10, 890, 10},
		{20000, 1, 0, 19642, 19336},
		{1 << 30, 1, 0, 1 << 20, 1<<20 - 1<<14},
		{0, 1, 0, 1 << 20, 1<<20 - 1<<14}, // not known
		{1, 2, 0, 1, 1},
	} {
		c := CapacityOf(tt.limit, tt.descriptors, tt.perClient)
		if c.Clients != tt.clients || c.PerClient != tt.each {
			t.Errorf("of %d descriptors there are %d connections, %d of one client; want %d and %d", tt.limit, c.Clients, c.PerClient, tt.clients, tt.each)
		}
		if all := c.Clients*int(tt.descriptors) + c.peers + c.urgent + c.metrics + ownShare; tt.limit > process.FilesReserved && all > int(tt.limit) {
			t.Errorf("%d descriptors are shared out, of %d", all, tt.limit)
		}
	}
}
