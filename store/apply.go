package store

import (
	"strconv"
	"strings"
)

// deadlineLast is 2262-01-01T00:00:00Z, past which a TTL is refused: nanoseconds since 1970 end in that year (K89).
const deadlineLast Time = 9_214_646_400 * Time(Second)

// Apply moves the log's time to t, unless it is past t already, and runs c. A success advances the index by one and
// gives its event; a failure changes nothing, and its error is an *Error. Nothing expires here.
func (s *Store) Apply(t Time, c Command) (*Event, error) {
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

// run is one line a command.
func (s *Store) run(c Command) (*Event, *Error) {
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

func (s *Store) set(c Set) (*Event, *Error) {
	deadline, err := s.deadline(c.TTL)
	if err != nil {
		return nil, err
	}
	old, err := s.findForWrite(c.Key)
	switch {
	case err != nil && (err.Code != CodeKeyNotFound || c.Refresh):
		return nil, err
	case old != nil && old.dir != nil:
		return nil, &Error{Code: CodeNotFile, Cause: c.Key.clean}
	}
	s.index++
	n := &node{value: c.Value, created: s.index, modified: s.index, deadline: deadline}
	switch {
	case c.Refresh:
		n.value = old.value
	case c.Dir:
		n.value, n.dir = "", &directory{epoch: s.epoch}
	}
	s.put(c.Key.clean, n, old)
	return s.changed(ActionSet, c.Key.clean, n, old, c.Refresh), nil
}

func (s *Store) create(c Create) (*Event, *Error) {
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

func (s *Store) createInOrder(c CreateInOrder) (*Event, *Error) {
	deadline, err := s.deadline(c.TTL)
	if err != nil {
		return nil, err
	}
	parent, err := find(s.root, c.Dir.clean)
	switch {
	case parent != nil && parent.dir == nil:
		return nil, &Error{Code: CodeNotDir, Cause: c.Dir.clean}
	case err != nil && err.Code != CodeKeyNotFound:
		return nil, err
	}
	number := uint64(s.index) + 1
	name := orderedName(number)
	for parent != nil && parent.dir.get(name) != nil {
		if number++; number == 0 {
			return nil, &Error{Code: CodeExists, Cause: c.Dir.clean + "/" + name}
		}
		name = orderedName(number)
	}
	return s.add(c.Dir.clean+"/"+name, c.Value, c.AsDir, deadline), nil
}

// orderedName is a number as 20 digits, which is what the largest one has.
func orderedName(number uint64) string {
	const zeros = "00000000000000000000"
	digits := strconv.FormatUint(number, 10)
	return zeros[len(digits):] + digits
}

func (s *Store) update(c Update) (*Event, *Error) {
	deadline, err := s.deadline(c.TTL)
	if err != nil {
		return nil, err
	}
	old, err := s.findForWrite(c.Key)
	switch {
	case err != nil:
		return nil, err
	case old.dir != nil && c.Value != "" && !c.Refresh:
		return nil, &Error{Code: CodeNotFile, Cause: c.Key.clean}
	}
	s.index++
	return s.change(ActionUpdate, c.Key.clean, old, c.Value, deadline, c.Refresh), nil
}

func (s *Store) compareAndSwap(c CompareAndSwap) (*Event, *Error) {
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
	return s.change(ActionCompareAndSwap, c.Key.clean, old, c.Value, deadline, c.Refresh), nil
}

func (s *Store) delete(c Delete) (*Event, *Error) {
	old, err := s.findForWrite(c.Key)
	switch {
	case err != nil:
		return nil, err
	case old.dir == nil || c.Recursive:
	case !c.Dir:
		return nil, &Error{Code: CodeNotFile, Cause: c.Key.clean}
	case old.dir.count > 0:
		return nil, &Error{Code: CodeDirNotEmpty, Cause: c.Key.clean}
	}
	return s.remove(ActionDelete, c.Key.clean, old), nil
}

func (s *Store) compareAndDelete(c CompareAndDelete) (*Event, *Error) {
	old, err := s.findForWrite(c.Key)
	if err != nil {
		return nil, err
	}
	if err := compare(c.Key, old, c.PrevValue, c.PrevIndex); err != nil {
		return nil, err
	}
	return s.remove(ActionCompareAndDelete, c.Key.clean, old), nil
}

// deadline turns a TTL into a deadline as nodes keep it. It is the first check of every command that has one, as a TTL
// out of range is a malformed request (K89).
func (s *Store) deadline(ttl TTL) (Time, *Error) {
	if !ttl.Set {
		return 0, nil
	}
	now := s.clock.now
	if now > deadlineLast || ttl.Seconds > uint64(deadlineLast-max(now, 0))/uint64(Second) {
		return 0, &Error{Code: CodeTTLNotNumber, Cause: `invalid value for "ttl"`}
	}
	at := now + Time(ttl.Seconds)*Time(Second) - Time(s.clock.shift)
	if at == 0 {
		at = 1 // 0 is taken: it means permanent
	}
	return at, nil
}

// findForWrite is find for a node that is to be changed, which the root cannot be (K72, E14).
func (s *Store) findForWrite(key Key) (*node, *Error) {
	if key.IsRoot() {
		return nil, &Error{Code: CodeRootReadOnly, Cause: "/"}
	}
	parent, name := splitLast(key.clean)
	if !s.isOpen(parent) {
		return find(s.root, key.clean)
	}
	if n := s.path[len(s.path)-1].get(name); n != nil {
		return n, nil
	}
	return nil, &Error{Code: CodeKeyNotFound, Cause: key.clean}
}

// compare checks the conditions of a compare command on the node found: a directory never passes (K66), and the cause
// names each condition that fails (K65).
func compare(key Key, n *node, prevValue string, prevIndex Index) *Error {
	if n.dir != nil {
		return &Error{Code: CodeNotFile, Cause: key.clean}
	}
	var cause string
	if prevValue != "" && prevValue != n.value {
		cause = "[" + prevValue + " != " + n.value + "]"
	}
	if prevIndex != 0 && prevIndex != n.modified {
		if cause != "" {
			cause += " "
		}
		cause += "[" + strconv.FormatUint(uint64(prevIndex), 10) + " != " + strconv.FormatUint(uint64(n.modified), 10) + "]"
	}
	if cause != "" {
		return &Error{Code: CodeCompareFailed, Cause: cause}
	}
	return nil
}

// add makes a node that does not exist, with the directories above it.
func (s *Store) add(key, value string, dir bool, deadline Time) *Event {
	s.index++
	n := &node{value: value, created: s.index, modified: s.index, deadline: deadline}
	if dir {
		n.value, n.dir = "", &directory{epoch: s.epoch}
	}
	s.put(key, n, nil)
	return s.changed(ActionCreate, key, n, nil, false)
}

// change gives an existing node a new deadline, and a file a new value too, unless it is only refreshed. The answer
// shows the new index for a directory as for a file, but a directory's node keeps its old one (K62).
func (s *Store) change(a Action, key string, old *node, value string, deadline Time, refresh bool) *Event {
	n := *old
	n.modified, n.deadline = s.index, deadline
	if old.dir == nil && !refresh {
		n.value = value
	}
	shown := &n
	if old.dir != nil {
		answer := n
		shown, n.modified = &answer, old.modified
	}
	s.put(key, &n, old)
	return s.changed(a, key, shown, old, refresh)
}

// put stores n at key, where old is now, or nothing if old is nil.
func (s *Store) put(key string, n, old *node) {
	parent, name := splitLast(key)
	d := s.open(parent)
	path := hashPath(key)
	timed, hash := n.timedNodes(), n.hashAll(path)
	if old == nil {
		n.name = strings.Clone(name) // not a piece of the key, which is longer and would be kept alive
		d.insert(n)
	} else {
		n.name = old.name
		timed, hash = timed-old.timedNodes(), hash-old.hashAll(path)
		s.forget(key, old.deadline)
		d.replace(name, n) // not n.name, which is somewhere in memory
	}
	s.remember(key, n.deadline)
	s.addBelow(timed, hash)
}

// open returns the directory at this path for changing, and leaves it and those above it in s.path. Directories that
// are missing are made (K52); that none of the names is a file has been checked.
func (s *Store) open(path string) *directory {
	if s.isOpen(path) {
		return s.path[len(s.path)-1]
	}
	if s.root.dir.epoch != s.epoch {
		s.root = s.root.fork(s.epoch)
	}
	d := s.root.dir
	s.path = append(s.path[:0], d)
	for rest := path; rest != ""; {
		var name string
		name, rest = cutName(rest)
		n := d.get(name)
		switch {
		case n == nil:
			n = newRoot(s.epoch)
			n.name, n.created, n.modified = strings.Clone(name), s.index, s.index
			d.insert(n)
			s.addBelow(0, n.hash(hashPath(path[:len(path)-len(rest)])))
		case n.dir.epoch != s.epoch:
			n = n.fork(s.epoch)
			d.replace(name, n)
		}
		d = n.dir
		s.path = append(s.path, d)
	}
	s.opened, s.openedIn = path, s.epoch
	return d
}

// isOpen tells whether s.path leads to this directory, and this batch may change all of it: many writes in a row are to
// one directory. A directory that is removed is not open, since its parent is opened for that.
func (s *Store) isOpen(path string) bool { return s.openedIn == s.epoch && s.opened == path }

// addBelow counts the deadlines and the hashes that came or went below the directories of s.path.
func (s *Store) addBelow(timed int, hash uint64) {
	for _, d := range s.path {
		d.timed += timed
		d.hash += hash
	}
}

// remove takes old out of the tree, with all below it and every deadline there (K73).
func (s *Store) remove(a Action, key string, old *node) *Event {
	s.index++
	parent, name := splitLast(key)
	s.open(parent).remove(name)
	s.addBelow(-old.timedNodes(), -old.hashAll(hashPath(key)))
	s.forget(key, old.deadline)
	s.forgetBelow(key, old.dir)

	c := change{action: a, key: key, index: s.index, old: old, clock: s.clock}
	if old.dir != nil {
		c.flags = flagDirRemoved
	}
	return s.tell(c)
}

// changed makes the event of a node that is now n and was old. A silent one goes to nobody but the writer (K67).
func (s *Store) changed(a Action, key string, n, old *node, silent bool) *Event {
	c := change{action: a, key: key, index: s.index, node: n, old: old, clock: s.clock, silent: silent}
	if old == nil {
		c.flags = flagCreated
	}
	return s.tell(c)
}
