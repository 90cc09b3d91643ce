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
	size      int64 // of the event, once the change is recorded
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

// Record takes changes for the history, and forgets what no longer belongs to it: of that no event is ever made. It may run
// beside the writing side, and must have had all changes, in order, before the next Publish.
func (s *Store) Record(c Changes) {
	l := &s.late
	for i := range c.list {
		one := &c.list[i]
		one.size = eventSize(one.key, one.jsonBytes())
		l.changes = append(l.changes, *one)
		l.bytes += one.size
		*one = change{}
	}
	h := &s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.options
	h.history.shrink(max(0, 1-l.count()), o.HistoryEvents-l.count(), o.HistoryBytes-l.bytes)
	for l.count() > 1 && (l.count() > o.HistoryEvents || l.bytes > o.HistoryBytes) {
		h.history.oldest = l.forget() + 1
	}
}

// MakeEvents gives functions that make the events which were recorded, each a part of them. They can run side by side,
// before the next Publish, which else makes all of them.
func (s *Store) MakeEvents(parts int) (all []func()) {
	l := &s.late
	l.made = make([]*Event, len(l.changes))
	for part := range parts {
		from, to := l.first+part*l.count()/parts, l.first+(part+1)*l.count()/parts
		all = append(all, func() {
			var t teller
			for i := from; i < to; i++ {
				l.made[i] = t.event(&l.changes[i])
			}
		})
	}
	return all
}

// enterLate ends what DeferEvents began.
func (s *Store) enterLate() {
	assert(len(s.deferred.list) == 0, "deferred events are recorded before they are published")
	if s.late.made == nil {
		s.MakeEvents(1)[0]()
	}
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	for _, e := range s.late.made[s.late.first:] {
		s.hub.history.add(e)
	}
	s.deferred, s.late = nil, late{}
}

// late are changes that belong to the history, behind the events that are made.
type late struct {
	changes []change
	first   int // of those that still belong to it
	bytes   int64
	made    []*Event // of changes; nil: not made
}

func (l *late) count() int { return len(l.changes) - l.first }

// forget forgets the oldest change, and gives its index.
func (l *late) forget() Index {
	c := &l.changes[l.first]
	index := c.index
	l.bytes -= c.size
	*c = change{}
	if l.first++; l.first > len(l.changes)/2 && l.first > chunkEvents {
		l.changes = append(l.changes[:0], l.changes[l.first:]...)
		l.first = 0
	}
	return index
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

// jsonBytes is how long the JSON is.
func (c *change) jsonBytes() int {
	key := len(`{"key":""}`) + escapedLen(c.key)
	bytes := len(`{"action":"","node":}`+"\n") + len(c.action.String()) + key
	switch {
	case c.node != nil:
		bytes += c.node.jsonBytes(c.clock)
	case c.old.dir != nil:
		bytes += len(`,"dir":true`) + indexesLen(c.index, c.old.created)
	default:
		bytes += indexesLen(c.index, c.old.created)
	}
	if c.old != nil {
		bytes += len(`,"prevNode":`) + key + c.old.jsonBytes(c.clock)
	}
	return bytes
}

// jsonBytes is how long the JSON of a node is besides its key and its braces.
func (n *node) jsonBytes(c clock) int {
	bytes := indexesLen(n.modified, n.created)
	if n.dir == nil {
		bytes += len(`,"value":""`) + escapedLen(n.value)
	} else {
		bytes += len(`,"dir":true`)
	}
	if n.deadline != 0 {
		var room [128]byte
		bytes += len(appendExpiry(room[:0], n.deadline.shifted(c.shift), c.now))
	}
	return bytes
}

// indexesLen is how much appendIndexes appends.
func indexesLen(modified, created Index) (bytes int) {
	if modified != 0 {
		bytes += len(`,"modifiedIndex":`) + digits(modified)
	}
	if created != 0 {
		bytes += len(`,"createdIndex":`) + digits(created)
	}
	return bytes
}

func digits(n Index) (count int) {
	for ; n > 0; n /= 10 {
		count++
	}
	return count
}
