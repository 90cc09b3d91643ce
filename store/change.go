package store

// change is what an event tells of: everything that its JSON is made from. Nodes never change, so it can be made later.
type change struct {
	action    Action
	flags     eventFlags
	silent    bool // told to nobody but the writer (K67)
	key       string
	index     Index
	clock     clock
	node, old *node // as the key is now, and as it was; nil: not there
}

// Changes are what was done to a store whose events are deferred, in order.
type Changes struct {
	list  []change
	bytes int64
}

// Bytes is about what the changes take in memory.
func (c *Changes) Bytes() int64 { return c.bytes }

// changeOverhead is what a change takes besides values.
const changeOverhead = 128

func (c *Changes) add(one change) {
	c.list = append(c.list, one)
	c.bytes += changeOverhead + int64(len(one.key))
	if one.node != nil {
		c.bytes += int64(len(one.node.value))
	}
	if one.old != nil {
		c.bytes += int64(len(one.old.value))
	}
}

// DeferEvents has commands make no events: Apply gives nil for them, and the writing side takes what there is to tell with
// TakeChanges, for Record. That is for a store which nobody looks at yet, so that events can be made beside the commands
// that follow. The next Publish ends it.
func (s *Store) DeferEvents() { s.deferred = &Changes{} }

// TakeChanges takes what was done since the last call, and leaves the memory of spare for what comes.
func (s *Store) TakeChanges(spare Changes) Changes {
	taken := *s.deferred
	clear(spare.list)
	*s.deferred = Changes{list: spare.list[:0]}
	return taken
}

// Deferred is about what the changes not taken yet take in memory, in bytes.
func (s *Store) Deferred() int64 { return s.deferred.bytes }

// Record makes the events of changes, and enters them into the history. It may run beside the writing side, and must have
// had all changes, in order, before the next Publish.
func (s *Store) Record(c Changes) {
	h := &s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range c.list {
		h.history.add(s.teller.event(&c.list[i]))
		if c.list[i] = (change{}); i%chunkEvents == 0 {
			h.history.trim(h.options)
		}
	}
	h.history.trim(h.options)
}

// tell makes the event of a change, or leaves that for later.
func (s *Store) tell(c change) *Event {
	if s.deferred != nil {
		if !c.silent {
			s.deferred.add(c)
		}
		return nil
	}
	e := s.teller.event(&c)
	if !c.silent {
		var removed *directory
		if c.flags&flagDirRemoved != 0 {
			removed = c.old.dir
		}
		s.pending = append(s.pending, event{Event: e, removed: removed})
		s.held += e.size()
	}
	return e
}

// teller makes events.
type teller struct {
	scratch []byte // an event's JSON
	shelf   shelf  // for the next events
}

// scratchMax is the longest JSON that is put together in the scratch buffer.
const scratchMax = 64 << 10

// event makes the event of a change. Long JSON is made where it stays, in memory of its length.
func (t *teller) event(c *change) *Event {
	e := Event{index: c.index, key: c.key, action: c.action, flags: c.flags}
	if c.valueBytes() > scratchMax/longestEscape {
		return alone(e, c.appendJSON(make([]byte, 0, c.jsonBytes())))
	}
	json := c.appendJSON(t.scratch[:0])
	if t.scratch = json; cap(json) > scratchMax {
		t.scratch = nil // a long key: what comes next needs less
	}
	return t.shelf.put(e, json)
}

func (c *change) appendJSON(b []byte) []byte {
	b = append(b, `{"action":"`...)
	b = append(append(b, c.action.String()...), `","node":`...)
	if c.node != nil {
		b = appendNode(b, c.key, c.node, c.clock)
	} else {
		b = appendRemoved(b, c.key, c.old, c.index)
	}
	if c.old != nil {
		b = appendNode(append(b, `,"prevNode":`...), c.key, c.old, c.clock)
	}
	return append(b, "}\n"...)
}

// valueBytes is the length of the values that the JSON tells.
func (c *change) valueBytes() (bytes int) {
	if c.node != nil {
		bytes += len(c.node.value)
	}
	if c.old != nil {
		bytes += len(c.old.value)
	}
	return bytes
}

// jsonBytes is about how long the JSON is, and not less.
func (c *change) jsonBytes() int {
	const punctuation = 512 // names, indexes and times of two nodes
	bytes := punctuation + 2*escapedLen(c.key)
	if c.node != nil {
		bytes += escapedLen(c.node.value)
	}
	if c.old != nil {
		bytes += escapedLen(c.old.value)
	}
	return bytes
}
