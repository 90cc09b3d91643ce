package watch

import (
	"math"

	"canopy/store/nodejson"
	"canopy/store/tree"
)

// Change is what a command did to one node: all that the JSON of its event is made from. Nodes never change, so the event
// can be made later.
type Change struct {
	Action    Action
	Flags     Flags
	Silent    bool   // only the writer gets the event (K67)
	size      uint32 // of the event, by Event.size; 0: not known
	Key       string
	Index     tree.Index
	Clock     tree.Clock
	Node, Old *tree.Node // the node after and before the change; nil: there is none; not both are nil
}

// encoder makes the events of changes.
type encoder struct {
	scratch []byte // an event's JSON
	arena   arena  // for the next events
}

// scratchMax is the longest JSON that is made in the scratch buffer.
const scratchMax = 64 << 10

// event makes the event of a change. Long JSON is made in memory of its own, which is exactly as long.
func (x *encoder) event(c *Change) *Event {
	e := c.head()
	if c.valueLen() > scratchMax/nodejson.LongestEscape {
		return alone(e, c.appendJSON(make([]byte, 0, c.jsonLen())))
	}
	json := c.appendJSON(x.scratch[:0])
	if x.scratch = json; cap(json) > scratchMax {
		x.scratch = nil // a long key: the next events need less
	}
	return x.arena.put(e, json)
}

// head is the event without its JSON.
func (c *Change) head() Event {
	return Event{index: c.Index, key: c.Key, action: c.Action, flags: c.Flags}
}

// makeEvent makes the event again, equal to the one that was made at first.
func (c *Change) makeEvent() *Event {
	return alone(c.head(), c.appendJSON(make([]byte, 0, c.jsonLen())))
}

// setSize sets the size to that of e, or of the event that makeEvent makes if e is nil.
func (c *Change) setSize(e *Event) {
	size := int64(0)
	if e != nil {
		size = e.size()
	} else {
		size = eventSize(c.Key, c.jsonLen())
	}
	c.size = uint32(min(size, math.MaxUint32))
}

// anyDir stands for a directory's children.
var anyDir = tree.New().NewDir()

// kept is the change as the history keeps it. A directory's node is copied: its children may change or be many, and the JSON
// has none of them.
func (c *Change) kept() Change {
	kept := *c
	for _, n := range []**tree.Node{&kept.Node, &kept.Old} {
		if *n != nil && (*n).Dir() != nil {
			*n = tree.NewNode("", anyDir, (*n).Created(), (*n).Modified(), (*n).Deadline())
		}
	}
	return kept
}

func (c *Change) appendJSON(b []byte) []byte {
	b = append(b, `{"action":"`...)
	b = append(append(b, c.Action.String()...), `","node":`...)
	if c.Node != nil {
		b = nodejson.AppendNode(b, c.Key, c.Node, c.Clock)
	} else {
		b = nodejson.AppendRemoved(b, c.Key, c.Old, c.Index)
	}
	if c.Old != nil {
		b = nodejson.AppendNode(append(b, `,"prevNode":`...), c.Key, c.Old, c.Clock)
	}
	return append(b, "}\n"...)
}

// jsonLen is the length of what appendJSON appends.
func (c *Change) jsonLen() int {
	key := nodejson.EscapedLen(c.Key)
	length := len(`{"action":"","node":}`+"\n") + len(c.Action.String())
	if c.Node != nil {
		length += nodejson.NodeLen(key, c.Node, c.Clock)
	} else {
		length += nodejson.RemovedLen(key, c.Old, c.Index)
	}
	if c.Old != nil {
		length += len(`,"prevNode":`) + nodejson.NodeLen(key, c.Old, c.Clock)
	}
	return length
}

// valueLen is the length of all values in the JSON, before they are escaped.
func (c *Change) valueLen() (length int) {
	if c.Node != nil {
		length += len(c.Node.Value())
	}
	if c.Old != nil {
		length += len(c.Old.Value())
	}
	return length
}

// minBytes is quick to compute, and less than the size of the event.
func (c *Change) minBytes() int64 { return int64(len(c.Key) + c.valueLen()) }
