package replica

import (
	"canopy/etcdserver/auth"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/store"
)

// Content is what an entry says, unless it is a configuration change. Decoding
// needs no state, so it can be done ahead of Apply.
type Content struct {
	request   pb.Request     // without its kind, if that is a command
	command   store.Command  // nil: it is no command
	operation auth.Operation // nil: it is no change of users, roles or tokens
}

// Decode reads an entry. What it reads is parts of the entry's data.
func (c *Content) Decode(e raft.Entry) (err error) {
	c.command, c.operation = nil, nil
	if e.Type == raft.EntryConfChange {
		return nil
	}
	command, ok := c.request.ReadCommand(e.Data)
	if !ok {
		c.request.Reset()
		if err := c.request.UnmarshalVTUnsafe(e.Data); err != nil {
			return entryError(e, err)
		}
		if p := c.request.GetAuth(); p != nil {
			if c.operation, err = operationFromProto(p); err != nil {
				return entryError(e, err)
			}
		}
		if command = c.request.GetCommand(); len(command) == 0 {
			return nil
		}
	}
	if c.command, err = store.DecodeCommand(command); err != nil {
		return entryError(e, err)
	}
	return nil
}
