package etcdtree

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"canopy/store"
	"canopy/store/tree"
	"canopy/store/watch"
)

// depthMax bounds the depth of a tree that is read.
const depthMax = store.MaxDepth + 2

// Load reads the state that a snapshot holds as JSON (G26). It reads r as a stream, and takes memory for what it keeps only.
func Load(r io.Reader, rules Rules) (*State, error) {
	l := &loader{in: json.NewDecoder(r), state: New(rules)}
	l.in.UseNumber()
	if err := l.load(); err != nil {
		return nil, err
	}
	return l.state, nil
}

type loader struct {
	in    *json.Decoder
	state *State
	root  bool
	index bool
	most  tree.Index // the greatest index of a node
}

func (l *loader) load() error {
	err := l.object(func(field string) error {
		switch field {
		case "Root":
			l.root = true
			return l.node("", "", 0)
		case "CurrentIndex":
			l.index = true
			n, err := l.number()
			l.state.index = tree.Index(n)
			return err
		case "WatcherHub":
			return l.hub()
		}
		return l.skip()
	})
	if err != nil {
		return err
	}
	if _, err := l.in.Token(); err != io.EOF {
		return errors.New("bytes follow the end of the state")
	}
	if !l.root || !l.index {
		return errors.New("it has no Root or no CurrentIndex")
	}
	if l.most > l.state.index {
		return fmt.Errorf("a node has the index %d, past that of the store, %d", l.most, l.state.index)
	}
	return l.events()
}

// events drops those of the history that cannot be (G30).
func (l *loader) events() error {
	s := l.state
	last := tree.Index(0)
	kept := s.past[:0]
	for _, c := range s.past {
		if c.Index > last && c.Index <= s.index {
			last = c.Index
			if c.Key != "" {
				kept = append(kept, c)
			}
		}
	}
	s.past, s.first, s.bytes = nil, 0, 0
	if s.oldest == 0 || s.oldest > s.index+1 {
		s.oldest = s.index + 1
	}
	for _, c := range kept {
		if c.Index >= s.oldest {
			s.keep(c)
		}
	}
	return nil
}

// object reads an object, and calls field for the value of each of its fields.
func (l *loader) object(field func(name string) error) error {
	t, err := l.in.Token()
	if err != nil {
		return cut(err)
	}
	if t == nil {
		return nil
	}
	if t != json.Delim('{') {
		return fmt.Errorf("%v where an object should be", t)
	}
	return l.fields(field)
}

// fields reads the rest of an object.
func (l *loader) fields(field func(name string) error) error {
	for l.in.More() {
		name, err := l.in.Token()
		if err != nil {
			return cut(err)
		}
		if err := field(name.(string)); err != nil {
			return err
		}
	}
	_, err := l.in.Token()
	return cut(err)
}

func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (l *loader) number() (uint64, error) {
	t, err := l.in.Token()
	if err != nil {
		return 0, cut(err)
	}
	n, ok := t.(json.Number)
	if !ok {
		return 0, fmt.Errorf("%v where a number should be", t)
	}
	var value uint64
	if err := json.Unmarshal([]byte(n), &value); err != nil {
		return 0, err
	}
	return value, nil
}

func (l *loader) text() (string, error) {
	t, err := l.in.Token()
	if err != nil {
		return "", cut(err)
	}
	text, ok := t.(string)
	if !ok {
		return "", fmt.Errorf("%v where a text should be", t)
	}
	return text, nil
}

// skip passes over a value.
func (l *loader) skip() error {
	depth := 0
	for {
		t, err := l.in.Token()
		if err != nil {
			return cut(err)
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// node reads a node, which its parent calls by its name, and all below it.
func (l *loader) node(path, name string, depth int) error {
	if depth > depthMax {
		return fmt.Errorf("the node %q is too deep", path[:min(len(path), 100)])
	}
	if depth > 0 && !tree.IsName(name) {
		return fmt.Errorf("a node in %q has the name %q", path, name)
	}
	n := rawNode{path: path}
	if depth > 0 {
		n.path += "/" + name
	}
	err := l.object(func(field string) (err error) {
		if n.whole {
			return fmt.Errorf("%s follows the children of %q", field, n.path)
		}
		switch field {
		case "Path":
			shown := ""
			if shown, err = l.text(); err == nil && shown != n.path && (depth > 0 || shown != "/") {
				err = fmt.Errorf("the node %q says that it is %q", n.path, shown)
			}
		case "CreatedIndex":
			n.created, err = l.number()
		case "ModifiedIndex":
			n.modified, err = l.number()
		case "Value":
			n.value, err = l.text()
		case "ExpireTime":
			n.expires, err = l.time()
		case "Children":
			n.whole = true
			err = l.children(&n, depth)
		default:
			err = l.skip()
		}
		return err
	})
	if err == nil && !n.whole {
		err = fmt.Errorf("the node %q does not tell whether it is a directory", n.path)
	}
	return err
}

// rawNode is a node as it is read.
type rawNode struct {
	path              string
	created, modified uint64
	value             string
	expires           tree.Time
	whole             bool // Children, which come last, were read
}

// children stores the node, now that all but its children is known, and reads these (G27).
func (l *loader) children(n *rawNode, depth int) error {
	t, err := l.in.Token()
	if err != nil {
		return cut(err)
	}
	if t != nil && t != json.Delim('{') {
		return fmt.Errorf("the children of %q are %v", n.path, t)
	}
	if err := l.add(n, t != nil, depth); err != nil {
		return err
	}
	if t == nil {
		return nil
	}
	return l.fields(func(name string) error { return l.node(n.path, name, depth+1) })
}

func (l *loader) add(n *rawNode, isDir bool, depth int) error {
	s := l.state
	p, ok := s.place(n.path)
	if !ok {
		return fmt.Errorf("the node %q is too deep", n.path[:min(len(n.path), 100)])
	}
	if p.key == "" {
		if !isDir {
			return fmt.Errorf("the root %q is a file", n.path)
		}
		return nil
	}
	if p.in == s.keys && (n.created == 0 || n.created > n.modified) {
		return fmt.Errorf("the node %q has the indexes %d and %d", n.path, n.created, n.modified)
	}
	l.most = max(l.most, tree.Index(n.modified))
	if old, blocked := p.find(); old != nil || blocked {
		return fmt.Errorf("the node %q is there twice", n.path)
	}
	node := tree.NewNode(strings.Clone(n.value), nil, tree.Index(n.created), tree.Index(n.modified), n.expires)
	if isDir {
		node = tree.NewNode("", p.in.NewDir(), node.Created(), node.Modified(), n.expires)
	}
	s.put(p, node, nil)
	return nil
}

// time reads an RFC 3339 time; year 1 is none (G28).
func (l *loader) time() (tree.Time, error) {
	text, err := l.text()
	if err != nil {
		return 0, err
	}
	ns, err := ParseTime(text)
	return tree.Time(ns), err
}

// ParseTime reads a deadline as JSON has it. Year 1 is 0.
func ParseTime(text string) (int64, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, err
	}
	switch {
	case t.Year() <= 1:
		return 0, nil
	case t.Year() < 1700:
		return math.MinInt64 / 2, nil
	case t.Year() > 2261:
		return int64(DeadlineLast), nil
	}
	ns := t.UnixNano()
	if ns == 0 {
		ns = 1
	}
	return ns, nil
}

// hub reads the history.
func (l *loader) hub() error {
	l.state.oldest = 0
	return l.object(func(field string) error {
		if field != "EventHistory" {
			return l.skip()
		}
		return l.object(func(field string) error {
			switch field {
			case "StartIndex":
				n, err := l.number()
				l.state.oldest = tree.Index(n)
				return err
			case "Queue":
				return l.queue()
			}
			return l.skip()
		})
	})
}

// rawEvent is an event as it is read.
type rawEvent struct {
	Action  string     `json:"action"`
	Node    *eventNode `json:"node"`
	Prev    *eventNode `json:"prevNode"`
	Refresh bool       `json:"refresh"`
}

type eventNode struct {
	Key        string     `json:"key"`
	Value      *string    `json:"value"`
	Dir        bool       `json:"dir"`
	Expiration *time.Time `json:"expiration"`
	Modified   uint64     `json:"modifiedIndex"`
	Created    uint64     `json:"createdIndex"`
}

// queueMax bounds a history; the old servers keep 1000 events.
const queueMax = 1 << 20

// queue reads the ring of events, and brings them into order.
func (l *loader) queue() error {
	var events []rawEvent
	var front, size uint64
	err := l.object(func(field string) (err error) {
		switch field {
		case "Events":
			events, err = l.ring()
		case "Front":
			front, err = l.number()
		case "Size":
			size, err = l.number()
		default:
			err = l.skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	n := uint64(len(events))
	if size > n || n > 0 && front >= n {
		return fmt.Errorf("a history of %d events has %d from %d on", n, size, front)
	}
	for i := range size {
		l.event(&events[(front+i)%n])
	}
	return nil
}

func (l *loader) ring() (events []rawEvent, err error) {
	t, err := l.in.Token()
	if err != nil || t == nil {
		return nil, cut(err)
	}
	if t != json.Delim('[') {
		return nil, fmt.Errorf("the events are %v", t)
	}
	for l.in.More() {
		var e rawEvent
		if err := l.in.Decode(&e); err != nil {
			return nil, err
		}
		if events = append(events, e); len(events) > queueMax {
			return nil, fmt.Errorf("the history has more than %d events", queueMax)
		}
	}
	_, err = l.in.Token()
	return events, cut(err)
}

// event keeps an event. One that clients cannot see has no key.
func (l *loader) event(e *rawEvent) {
	if e.Node == nil {
		return
	}
	c := watch.Change{Index: tree.Index(e.Node.Modified), Clock: tree.Clock{Now: math.MaxInt64}}
	defer func() { l.state.past = append(l.state.past, c) }()
	p, ok := l.state.place(e.Node.Key)
	action, known := actions[e.Action]
	if !ok || !known || p.in != l.state.keys || p.key == "" || e.Refresh {
		return
	}
	c.Action, c.Node, c.Old = action, l.nodeOf(e.Node), l.nodeOf(e.Prev)
	switch action {
	case watch.ActionDelete, watch.ActionCompareAndDelete, watch.ActionExpire:
		if c.Old == nil {
			c.Old = c.Node
		}
		if c.Node.Dir() != nil {
			c.Flags = watch.FlagDirRemoved
		}
		c.Node = nil
	default:
		if c.Old == nil {
			c.Flags = watch.FlagCreated
		}
	}
	c.Key = p.key
}

var actions = map[string]watch.Action{
	"set": watch.ActionSet, "create": watch.ActionCreate, "update": watch.ActionUpdate, "compareAndSwap": watch.ActionCompareAndSwap,
	"delete": watch.ActionDelete, "compareAndDelete": watch.ActionCompareAndDelete, "expire": watch.ActionExpire,
}

func (l *loader) nodeOf(e *eventNode) *tree.Node {
	if e == nil {
		return nil
	}
	var at tree.Time
	if e.Expiration != nil {
		if ns, err := ParseTime(e.Expiration.Format(time.RFC3339Nano)); err == nil {
			at = tree.Time(ns)
		}
	}
	if e.Dir {
		return tree.NewNode("", anyDir, tree.Index(e.Created), tree.Index(e.Modified), at)
	}
	value := ""
	if e.Value != nil {
		value = *e.Value
	}
	return tree.NewNode(value, nil, tree.Index(e.Created), tree.Index(e.Modified), at)
}
