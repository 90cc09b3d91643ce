package store

import (
	"strconv"

	"canopy/store/tree"
	"canopy/store/watch"
)

// deadlineLast is 2262-01-01T00:00:00Z. A TTL beyond it is refused, since nanoseconds since 1970 end in that year (K89).
const deadlineLast Time = 9_214_646_400 * Time(Second)

// Apply moves the log's time to t, unless it is past t already, and runs c. If c succeeds, the index grows by one, and Apply
// returns the event. If c fails, nothing changes, and the error is an *Error. Nothing expires here.
func (s *Store) Apply(t Time, c Command) (*watch.Event, error) {
	s.Pass(t)
	e, err := s.run(c)
	s.dirty = true
	s.counters.count(c, err == nil)
	if err != nil {
		if err.Code != CodeTTLNotNumber {
			err.Index = s.index
		}
		return nil, err
	}
	return e, nil
}

// run has one line for each command.
func (s *Store) run(c Command) (*watch.Event, *Error) {
	switch c := c.(type) {
	case Set:
		return s.set(c)
	case Create:
		return s.create(c)
	case CreateInOrder:
		return s.createInOrder(c)
	case Update:
		return s.update(c)
	case CompareAndSwap:
		return s.compareAndSwap(c)
	case Delete:
		return s.delete(c)
	case CompareAndDelete:
		return s.compareAndDelete(c)
	}
	panic("store: invariant broken: a command is one of the seven")
}

func (s *Store) set(c Set) (*watch.Event, *Error) {
	deadline, err := s.deadline(c.TTL)
	if err != nil {
		return nil, err
	}
	old, err := s.findForWrite(c.Key)
	switch {
	case err != nil && (err.Code != CodeKeyNotFound || c.Refresh):
		return nil, err
	case old != nil && old.Dir() != nil:
		return nil, &Error{Code: CodeNotFile, Cause: c.Key.clean}
	}
	s.index++
	value, dir := c.Value, (*tree.Dir)(nil)
	switch {
	case c.Refresh:
		value = old.Value()
	case c.Dir:
		value, dir = "", s.tree.NewDir()
	}
	n := tree.NewNode(value, dir, s.index, s.index, deadline)
	s.put(c.Key.clean, n, old)
	return s.changed(watch.ActionSet, c.Key.clean, n, old, c.Refresh), nil
}

func (s *Store) create(c Create) (*watch.Event, *Error) {
	deadline, err := s.deadline(c.TTL)
	if err != nil {
		return nil, err
	}
	old, err := s.findForWrite(c.Key)
	switch {
	case old != nil:
		return nil, &Error{Code: CodeExists, Cause: c.Key.clean}
	case err.Code != CodeKeyNotFound:
		return nil, err
	}
	return s.add(c.Key.clean, c.Value, c.Dir, deadline), nil
}

func (s *Store) createInOrder(c CreateInOrder) (*watch.Event, *Error) {
	deadline, err := s.deadline(c.TTL)
	if err != nil {
		return nil, err
	}
	parent, err := find(s.tree.Root(), c.Dir.clean)
	switch {
	case parent != nil && parent.Dir() == nil:
		return nil, &Error{Code: CodeNotDir, Cause: c.Dir.clean}
	case err != nil && err.Code != CodeKeyNotFound:
		return nil, err
	}
	number := uint64(s.index) + 1
	name := orderedName(number)
	for parent != nil && parent.Dir().Get(name) != nil {
		if number++; number == 0 {
			return nil, &Error{Code: CodeExists, Cause: c.Dir.clean + "/" + name}
		}
		name = orderedName(number)
	}
	return s.add(c.Dir.clean+"/"+name, c.Value, c.AsDir, deadline), nil
}

// orderedName is a number with 20 digits. The largest one has as many.
func orderedName(number uint64) string {
	const zeros = "00000000000000000000"
	digits := strconv.FormatUint(number, 10)
	return zeros[len(digits):] + digits
}

func (s *Store) update(c Update) (*watch.Event, *Error) {
	deadline, err := s.deadline(c.TTL)
	if err != nil {
		return nil, err
	}
	old, err := s.findForWrite(c.Key)
	switch {
	case err != nil:
		return nil, err
	case old.Dir() != nil && c.Value != "" && !c.Refresh:
		return nil, &Error{Code: CodeNotFile, Cause: c.Key.clean}
	}
	s.index++
	return s.change(watch.ActionUpdate, c.Key.clean, old, c.Value, deadline, c.Refresh), nil
}

func (s *Store) compareAndSwap(c CompareAndSwap) (*watch.Event, *Error) {
	deadline, err := s.deadline(c.TTL)
	if err != nil {
		return nil, err
	}
	old, err := s.findForWrite(c.Key)
	if err != nil {
		return nil, err
	}
	if err := compare(c.Key, old, c.PrevValue, c.PrevIndex); err != nil {
		return nil, err
	}
	s.index++
	return s.change(watch.ActionCompareAndSwap, c.Key.clean, old, c.Value, deadline, c.Refresh), nil
}

func (s *Store) delete(c Delete) (*watch.Event, *Error) {
	old, err := s.findForWrite(c.Key)
	switch {
	case err != nil:
		return nil, err
	case old.Dir() == nil || c.Recursive:
	case !c.Dir:
		return nil, &Error{Code: CodeNotFile, Cause: c.Key.clean}
	case old.Dir().Len() > 0:
		return nil, &Error{Code: CodeDirNotEmpty, Cause: c.Key.clean}
	}
	return s.remove(watch.ActionDelete, c.Key.clean, old), nil
}

func (s *Store) compareAndDelete(c CompareAndDelete) (*watch.Event, *Error) {
	old, err := s.findForWrite(c.Key)
	if err != nil {
		return nil, err
	}
	if err := compare(c.Key, old, c.PrevValue, c.PrevIndex); err != nil {
		return nil, err
	}
	return s.remove(watch.ActionCompareAndDelete, c.Key.clean, old), nil
}

// deadline turns a TTL into a deadline of a node. It is the first check of each command that has one, since a TTL that is out
// of range is a malformed request (K89).
func (s *Store) deadline(ttl TTL) (Time, *Error) {
	if !ttl.Set {
		return 0, nil
	}
	now := s.clock.Now
	if now > deadlineLast || ttl.Seconds > uint64(deadlineLast-max(now, 0))/uint64(Second) {
		return 0, &Error{Code: CodeTTLNotNumber, Cause: `invalid value for "ttl"`}
	}
	at := now + Time(ttl.Seconds)*Time(Second) - Time(s.clock.Shift)
	if at == 0 {
		at = 1 // 0 means permanent
	}
	return at, nil
}

// findForWrite finds a node that will be changed. It refuses the root (K72, E14).
func (s *Store) findForWrite(key Key) (*tree.Node, *Error) {
	if key.IsRoot() {
		return nil, &Error{Code: CodeRootReadOnly, Cause: "/"}
	}
	n, at := s.tree.Find(key.clean)
	return found(n, key.clean, at)
}

// IsDir tells whether there is a directory of a key, as of the last command.
func (s *Store) IsDir(key Key) bool {
	n, at := s.tree.Find(key.clean)
	return n != nil && at == len(key.clean) && n.Dir() != nil
}

// compare checks the conditions of a compare command. A directory never meets them (K66). The cause names each condition that
// fails (K65).
func compare(key Key, n *tree.Node, prevValue string, prevIndex Index) *Error {
	if n.Dir() != nil {
		return &Error{Code: CodeNotFile, Cause: key.clean}
	}
	var cause string
	if prevValue != "" && prevValue != n.Value() {
		cause = "[" + prevValue + " != " + n.Value() + "]"
	}
	if prevIndex != 0 && prevIndex != n.Modified() {
		if cause != "" {
			cause += " "
		}
		cause += "[" + strconv.FormatUint(uint64(prevIndex), 10) + " != " + strconv.FormatUint(uint64(n.Modified()), 10) + "]"
	}
	if cause != "" {
		return &Error{Code: CodeCompareFailed, Cause: cause}
	}
	return nil
}

// add makes a node that does not exist, and the directories above it.
func (s *Store) add(key, value string, dir bool, deadline Time) *watch.Event {
	s.index++
	n := tree.NewNode(value, nil, s.index, s.index, deadline)
	if dir {
		n = tree.NewNode("", s.tree.NewDir(), s.index, s.index, deadline)
	}
	s.put(key, n, nil)
	return s.changed(watch.ActionCreate, key, n, nil, false)
}

// change gives an existing node a new deadline and, unless it is a refresh, a file a new value. In the answer, a directory has
// the new index, as a file has; but the node of a directory keeps its old index (K62).
func (s *Store) change(a watch.Action, key string, old *tree.Node, value string, deadline Time, refresh bool) *watch.Event {
	if old.Dir() != nil || refresh {
		value = old.Value()
	}
	n := tree.NewNode(value, old.Dir(), old.Created(), s.index, deadline)
	shown := n
	if old.Dir() != nil {
		n = tree.NewNode("", old.Dir(), old.Created(), old.Modified(), deadline)
	}
	s.put(key, n, old)
	return s.changed(a, key, shown, old, refresh)
}

// put stores n at key, in place of old. old is nil if there is no node.
func (s *Store) put(key string, n, old *tree.Node) {
	s.tree.Put(key, n, old)
	if old != nil {
		s.dropDeadline(key, old.Deadline())
	}
	s.addDeadline(key, n.Deadline())
}

// remove removes old, all nodes below it, and the deadlines of all of them (K73).
func (s *Store) remove(a watch.Action, key string, old *tree.Node) *watch.Event {
	s.index++
	s.tree.Remove(key, old)
	s.dropDeadline(key, old.Deadline())
	s.dropDeadlinesBelow(key, old.Dir())

	c := watch.Change{Action: a, Key: key, Index: s.index, Old: old, Clock: s.clock}
	if old.Dir() != nil {
		c.Flags = watch.FlagDirRemoved
	}
	return s.events.Add(&c)
}

// changed makes the event of a change from old to n. Only the writer gets a silent one (K67).
func (s *Store) changed(a watch.Action, key string, n, old *tree.Node, silent bool) *watch.Event {
	c := watch.Change{Action: a, Key: key, Index: s.index, Node: n, Old: old, Clock: s.clock, Silent: silent}
	if old == nil {
		c.Flags = watch.FlagCreated
	}
	return s.events.Add(&c)
}
