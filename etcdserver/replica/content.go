package replica

import (
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/store"
)

// Content is what an entry says, unless it is a configuration change. Decoding
// needs no state, so it can be done ahead of Apply.
type Content struct {
	request pb.Request
	command store.Command // of the request; nil: it has none
}

// Decode reads an entry. What it reads is parts of the entry's data.
func (c *Content) Decode(e raft.Entry) (err error) {
	if e.Type == raft.EntryConfChange {
		return nil
	}
	if err := c.request.UnmarshalVTUnsafe(e.Data); err != nil {
		return entryError(e, err)
	}
	if len(c.request.Command) == 0 {
		return nil
	}
	if c.command, err = store.DecodeCommand(c.request.Command); err != nil {
		return entryError(e, err)
	}
	return nil
}
