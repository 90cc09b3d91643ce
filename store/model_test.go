package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// model is a naive form of a Store: a map from path to node, a list of all events, and the rules of the specification, one
// by one. It shares no code with the store, and makes its answers with encoding/json.
type model struct {
	nodes   map[string]*modelNode // by clean path; the root is not in it
	index   uint64
	now     int64
	history []modelEvent
	oldest  uint64
	events  int   // limit
	bytes   int64 // limit
	stats   map[string]uint64
}

type modelNode struct {
	value             string
	dir               bool
	created, modified uint64
	timed             bool
	deadline          int64
}

// modelEvent is an event as watchers see it.
type modelEvent struct {
	index   uint64
	key     string
	json    string
	removed map[string]bool // the paths that went; nil unless a directory was removed
}

// modelError is what an *Error should say.
type modelError struct {
	code  int
	cause string
	index uint64
}

func (e *modelError) Error() string { return fmt.Sprint(e.code, " ", e.cause, " ", e.index) }

// jsonNode and jsonAnswer have the fields in the order of K27.
type jsonNode struct {
	Key        string      `json:"key,omitempty"`
	Value      *string     `json:"value,omitempty"`
	Dir        bool        `json:"dir,omitempty"`
	Expiration *time.Time  `json:"expiration,omitempty"`
	TTL        int64       `json:"ttl,omitempty"`
	Nodes      []*jsonNode `json:"nodes,omitempty"`
	Modified   uint64      `json:"modifiedIndex,omitempty"`
	Created    uint64      `json:"createdIndex,omitempty"`
}

type jsonAnswer struct {
	Action string    `json:"action"`
	Node   *jsonNode `json:"node"`
	Prev   *jsonNode `json:"prevNode,omitempty"`
}

func newModel(o Options) *model {
	return &model{nodes: map[string]*modelNode{}, oldest: 1, events: o.HistoryEvents, bytes: o.HistoryBytes, stats: map[string]uint64{}}
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b) + "\n"
}

// show is a node without children.
func (m *model) show(key string, n *modelNode, now int64) *jsonNode {
	j := &jsonNode{Key: key, Dir: n.dir, Modified: n.modified, Created: n.created}
	if !n.dir {
		j.Value = &n.value
	}
	if n.timed {
		at := time.Unix(0, n.deadline).UTC()
		j.Expiration = &at
		if left := n.deadline - now; left > 0 {
			j.TTL = left / 1e9
			if left%1e9 > 0 {
				j.TTL++
			}
		}
	}
	return j
}

// children are the paths of the nodes directly in dir, sorted.
func (m *model) children(dir string) []string {
	var all []string
	for p := range m.nodes {
		if strings.HasPrefix(p, dir+"/") && !strings.Contains(p[len(dir)+1:], "/") {
			all = append(all, p)
		}
	}
	sort.Strings(all)
	return all
}

// list fills in the nodes of a directory (K36-K38, K75).
func (m *model) list(j *jsonNode, dir string, recursive bool, now int64) {
	for _, p := range m.children(dir) {
		if strings.HasPrefix(p[len(dir):], "/_") {
			continue
		}
		kid := m.show(p, m.nodes[p], now)
		if recursive && kid.Dir {
			m.list(kid, p, true, now)
		}
		j.Nodes = append(j.Nodes, kid)
	}
}

// get is GET (§6).
func (m *model) get(key string, recursive bool, now int64) (string, *modelError) {
	if key == "" {
		root := &jsonNode{Dir: true}
		m.list(root, "", recursive, now)
		return encode(jsonAnswer{Action: "get", Node: root}), nil
	}
	n, err := m.find(key)
	if err != nil {
		return "", err
	}
	j := m.show(key, n, now)
	if n.dir {
		m.list(j, key, recursive, now)
	}
	return encode(jsonAnswer{Action: "get", Node: j}), nil
}

// find walks down the path (K40, K41).
func (m *model) find(key string) (*modelNode, *modelError) {
	parts := strings.Split(key, "/")[1:]
	for i := range parts {
		prefix := "/" + strings.Join(parts[:i+1], "/")
		n := m.nodes[prefix]
		if n == nil {
			return nil, &modelError{100, prefix, m.index}
		}
		if i == len(parts)-1 {
			return n, nil
		}
		if !n.dir {
			return nil, &modelError{104, prefix, m.index}
		}
	}
	return nil, nil
}

// apply is one command; it returns the event's JSON.
func (m *model) apply(now int64, c Command) (string, *modelError) {
	m.now = max(m.now, now)
	name, answer, err := "", "", (*modelError)(nil)
	switch c := c.(type) {
	case Set:
		name = "set"
		answer, err = m.set(c)
	case Create:
		name = "create"
		answer, err = m.create(c.Key.clean, c.Value, c.Dir, c.TTL)
	case CreateInOrder:
		name = "create"
		answer, err = m.createInOrder(c)
	case Update:
		name = "update"
		answer, err = m.update(c)
	case CompareAndSwap:
		name = "swap"
		answer, err = m.compareAndSwap(c)
	case Delete:
		name = "delete"
		answer, err = m.delete(c)
	case CompareAndDelete:
		name = "compareDelete"
		answer, err = m.compareAndDelete(c)
	}
	m.stats[fmt.Sprint(name, err == nil)]++
	return answer, err
}

// expires checks a TTL and gives the deadline (K77, K89).
func (m *model) expires(ttl TTL) (timed bool, deadline int64, err *modelError) {
	if !ttl.Set {
		return false, 0, nil
	}
	last := time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
	if ttl.Seconds > 1<<40 || time.Unix(0, m.now).Add(time.Duration(0)).Unix()+int64(ttl.Seconds) > last.Unix() {
		return false, 0, &modelError{202, `invalid value for "ttl"`, 0}
	}
	return true, m.now + int64(ttl.Seconds)*1e9, nil
}

func (m *model) set(c Set) (string, *modelError) {
	key := c.Key.clean
	timed, deadline, err := m.expires(c.TTL)
	if err != nil {
		return "", err
	}
	if key == "" {
		return "", &modelError{107, "/", m.index}
	}
	old, err := m.find(key)
	if err != nil && (err.code != 100 || c.Refresh) {
		return "", err
	}
	if old != nil && old.dir {
		return "", &modelError{102, key, m.index}
	}
	m.index++
	n := &modelNode{value: c.Value, created: m.index, modified: m.index, timed: timed, deadline: deadline}
	if c.Refresh {
		n.value = old.value
	} else if c.Dir {
		n.value, n.dir = "", true
	}
	m.parents(key)
	m.nodes[key] = n
	return m.event("set", key, n, old, c.Refresh), nil
}

// parents makes the directories above key that are missing (K52).
func (m *model) parents(key string) {
	for i := 1; i < len(key); i++ {
		if key[i] == '/' && m.nodes[key[:i]] == nil {
			m.nodes[key[:i]] = &modelNode{dir: true, created: m.index, modified: m.index}
		}
	}
}

func (m *model) create(key, value string, dir bool, ttl TTL) (string, *modelError) {
	timed, deadline, err := m.expires(ttl)
	if err != nil {
		return "", err
	}
	if key == "" {
		return "", &modelError{107, "/", m.index}
	}
	old, err := m.find(key)
	if old != nil {
		return "", &modelError{105, key, m.index}
	}
	if err.code != 100 {
		return "", err
	}
	m.index++
	if dir {
		value = ""
	}
	m.parents(key)
	n := &modelNode{value: value, dir: dir, created: m.index, modified: m.index, timed: timed, deadline: deadline}
	m.nodes[key] = n
	return m.event("create", key, n, nil, false), nil
}

func (m *model) createInOrder(c CreateInOrder) (string, *modelError) {
	if _, _, err := m.expires(c.TTL); err != nil {
		return "", err
	}
	dir := c.Dir.clean
	if dir != "" {
		n, err := m.find(dir)
		if err != nil && err.code != 100 {
			return "", err
		}
		if n != nil && !n.dir {
			return "", &modelError{104, dir, m.index}
		}
	}
	for number := m.index + 1; ; number++ {
		key := fmt.Sprintf("%s/%020d", dir, number)
		if m.nodes[key] == nil {
			return m.create(key, c.Value, c.AsDir, c.TTL)
		}
	}
}

func (m *model) update(c Update) (string, *modelError) {
	key := c.Key.clean
	timed, deadline, err := m.expires(c.TTL)
	if err != nil {
		return "", err
	}
	if key == "" {
		return "", &modelError{107, "/", m.index}
	}
	n, err := m.find(key)
	if err != nil {
		return "", err
	}
	if n.dir && c.Value != "" && !c.Refresh {
		return "", &modelError{102, key, m.index}
	}
	return m.overwrite("update", key, c.Value, c.Refresh, timed, deadline), nil
}

// overwrite is what update and compareAndSwap do on success (K48, K62).
func (m *model) overwrite(action, key, value string, refresh, timed bool, deadline int64) string {
	m.index++
	n := m.nodes[key]
	old := *n
	n.timed, n.deadline, n.modified = timed, deadline, m.index
	if !n.dir && !refresh {
		n.value = value
	}
	answer := m.event(action, key, n, &old, refresh)
	if n.dir {
		n.modified = old.modified
	}
	return answer
}

func (m *model) compare(key string, n *modelNode, prevValue string, prevIndex Index) *modelError {
	if n.dir {
		return &modelError{102, key, m.index}
	}
	var causes []string
	if prevValue != "" && prevValue != n.value {
		causes = append(causes, fmt.Sprintf("[%s != %s]", prevValue, n.value))
	}
	if prevIndex != 0 && uint64(prevIndex) != n.modified {
		causes = append(causes, fmt.Sprintf("[%d != %d]", prevIndex, n.modified))
	}
	if causes != nil {
		return &modelError{101, strings.Join(causes, " "), m.index}
	}
	return nil
}

func (m *model) compareAndSwap(c CompareAndSwap) (string, *modelError) {
	key := c.Key.clean
	timed, deadline, err := m.expires(c.TTL)
	if err != nil {
		return "", err
	}
	if key == "" {
		return "", &modelError{107, "/", m.index}
	}
	n, err := m.find(key)
	if err == nil {
		err = m.compare(key, n, c.PrevValue, c.PrevIndex)
	}
	if err != nil {
		return "", err
	}
	return m.overwrite("compareAndSwap", key, c.Value, c.Refresh, timed, deadline), nil
}

func (m *model) delete(c Delete) (string, *modelError) {
	key := c.Key.clean
	if key == "" {
		return "", &modelError{107, "/", m.index}
	}
	n, err := m.find(key)
	if err != nil {
		return "", err
	}
	if n.dir && !c.Recursive {
		if !c.Dir {
			return "", &modelError{102, key, m.index}
		}
		if len(m.children(key)) > 0 {
			return "", &modelError{108, key, m.index}
		}
	}
	return m.remove("delete", key), nil
}

func (m *model) compareAndDelete(c CompareAndDelete) (string, *modelError) {
	key := c.Key.clean
	if key == "" {
		return "", &modelError{107, "/", m.index}
	}
	n, err := m.find(key)
	if err == nil {
		err = m.compare(key, n, c.PrevValue, c.PrevIndex)
	}
	if err != nil {
		return "", err
	}
	return m.remove("compareAndDelete", key), nil
}

// remove takes key and all below it away (K73, K84).
func (m *model) remove(action, key string) string {
	m.index++
	n := m.nodes[key]
	removed := map[string]bool{key: true}
	delete(m.nodes, key)
	if n.dir {
		for p := range m.nodes {
			if strings.HasPrefix(p, key+"/") {
				removed[p] = true
				delete(m.nodes, p)
			}
		}
	} else {
		removed = nil
	}
	answer := encode(jsonAnswer{Action: action,
		Node: &jsonNode{Key: key, Dir: n.dir, Modified: m.index, Created: n.created},
		Prev: m.show(key, n, m.now)})
	m.history = append(m.history, modelEvent{m.index, key, answer, removed})
	return answer
}

// event encodes a change, and keeps it for watchers unless it is a refresh.
func (m *model) event(action, key string, n, old *modelNode, silent bool) string {
	a := jsonAnswer{Action: action, Node: m.show(key, n, m.now)}
	if old != nil {
		a.Prev = m.show(key, old, m.now)
	}
	answer := encode(a)
	if !silent {
		m.history = append(m.history, modelEvent{m.index, key, answer, nil})
	}
	return answer
}

// expire removes due nodes, one after the other (K78, K86, K88).
func (m *model) expire(now int64, most int) int {
	m.now = max(m.now, now)
	for removed := 0; ; removed++ {
		var first string
		for p, n := range m.nodes {
			if !n.timed || n.deadline > m.now {
				continue
			}
			if f := m.nodes[first]; f == nil || n.deadline < f.deadline || n.deadline == f.deadline && p < first {
				first = p
			}
		}
		if first == "" || removed == most {
			return removed
		}
		m.remove("expire", first)
		m.stats["expired"]++
	}
}

// nextDeadline is the earliest deadline.
func (m *model) nextDeadline() (first int64, ok bool) {
	for _, n := range m.nodes {
		if n.timed && (!ok || n.deadline < first) {
			first, ok = n.deadline, true
		}
	}
	return first, ok
}

func (m *model) shift(gap int64) {
	for _, n := range m.nodes {
		n.deadline += gap
	}
}

// publish drops old events (K95, with limits by count and by bytes).
func (m *model) publish() {
	var bytes int64
	for _, e := range m.history {
		bytes += int64(len(e.json)+len(e.key)) + 80
	}
	for len(m.history) > 1 && (len(m.history) > m.events || bytes > m.bytes) {
		bytes -= int64(len(m.history[0].json)+len(m.history[0].key)) + 80
		m.oldest = m.history[0].index + 1
		m.history = slices.Delete(m.history, 0, 1)
	}
}

// matches reports whether a watcher gets an event, by K97-K99 and K105 if it is live, and from history with the difference
// of K106d.
func (e *modelEvent) matches(key string, recursive, live bool) bool {
	if e.key == key {
		return true
	}
	if e.removed != nil && strings.HasPrefix(key, e.key+"/") {
		return !live || e.removed[key]
	}
	if !recursive || !strings.HasPrefix(e.key, key+"/") {
		return false
	}
	for _, name := range strings.Split(e.key[len(key):], "/") {
		if strings.HasPrefix(name, "_") {
			return false
		}
	}
	return true
}
