package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Node is a file or a directory.
type Node struct {
	Key           string     `json:"key"` // absolute; "" for the root
	Value         string     `json:"value"`
	Dir           bool       `json:"dir"`
	Expiration    *time.Time `json:"expiration"` // nil: it stays
	TTL           int64      `json:"ttl"`        // seconds that are left, by the clock of the member that answered
	ModifiedIndex uint64     `json:"modifiedIndex"`
	CreatedIndex  uint64     `json:"createdIndex"`
	Nodes         []*Node    `json:"nodes"` // children, in no particular order unless they were to be sorted
}

// A Response is what a server did or found.
type Response struct {
	Action   string // get, set, create, update, delete, compareAndSwap, compareAndDelete or expire
	Node     *Node  // as it is now; without a value if it was deleted; nil if the answer was to be brief
	PrevNode *Node  // as it was before a change, nil if it was not there

	Index     uint64 // X-Etcd-Index: how many changes the member that answered knows of; watch after this one
	RaftIndex uint64
	RaftTerm  uint64
	ClusterID uint64
}

// GetOptions say how to read. The zero value reads what the member that is asked knows.
type GetOptions struct {
	Recursive bool // with all that is below a directory
	Sorted    bool // children by name
	Quorum    bool // linearizable: not older than what any client has seen
}

// Get reads a key. A directory comes with its children.
func (c *Client) Get(ctx context.Context, key string, o GetOptions) (*Response, error) {
	q := query{}
	q.flag("recursive", o.Recursive)
	q.flag("sorted", o.Sorted)
	q.flag("quorum", o.Quorum)
	return c.keys(ctx, call{method: http.MethodGet, path: q.after(c.keyPath(key))})
}

// SetOptions say what to write, and on which conditions. The zero value makes a file that stays, or replaces one.
type SetOptions struct {
	TTL       time.Duration // after which the key is deleted, in whole seconds, rounded up; 0: it stays
	PrevExist Exist         // whether the key must be there
	PrevValue string        // what the key must hold; "": no matter
	PrevIndex uint64        // what its ModifiedIndex must be; 0: no matter
	Dir       bool          // make a directory
	Refresh   bool          // only set the TTL of what is there, and wake no watcher; the value has to be ""
	Brief     bool          // leave both nodes out of the answer
}

// Exist says whether a key must be there.
type Exist int

// What SetOptions.PrevExist can be.
const (
	Any   Exist = iota // no matter
	Must               // update: the key must be there
	Never              // create: the key must not be there
)

// Set writes a key, with its missing parents.
func (c *Client) Set(ctx context.Context, key, value string, o SetOptions) (*Response, error) {
	q := query{}
	q.text("value", value)
	q.ttl(o.TTL)
	switch o.PrevExist {
	case Must:
		q.text("prevExist", "true")
	case Never:
		q.text("prevExist", "false")
	}
	q.text("prevValue", o.PrevValue)
	q.number("prevIndex", o.PrevIndex)
	q.flag("dir", o.Dir)
	q.flag("refresh", o.Refresh)
	q.flag("noValueOnSuccess", o.Brief)
	return c.keys(ctx, call{method: http.MethodPut, path: c.keyPath(key), kind: kindForm, body: q.encode()})
}

// CreateInOrder makes a file within a directory, under a name that is greater than that of all before it.
func (c *Client) CreateInOrder(ctx context.Context, dir, value string, ttl time.Duration) (*Response, error) {
	q := query{}
	q.text("value", value)
	q.ttl(ttl)
	return c.keys(ctx, call{method: http.MethodPost, path: c.keyPath(dir), kind: kindForm, body: q.encode()})
}

// DeleteOptions say what to delete, and on which conditions. The zero value deletes a file.
type DeleteOptions struct {
	Recursive bool   // a directory and all that is below it, or a file
	Dir       bool   // a directory that is empty, or a file
	PrevValue string // what the file must hold; "": no matter
	PrevIndex uint64 // what its ModifiedIndex must be; 0: no matter
}

// Delete deletes a key.
func (c *Client) Delete(ctx context.Context, key string, o DeleteOptions) (*Response, error) {
	q := query{}
	q.flag("recursive", o.Recursive)
	q.flag("dir", o.Dir)
	q.text("prevValue", o.PrevValue)
	q.number("prevIndex", o.PrevIndex)
	return c.keys(ctx, call{method: http.MethodDelete, path: q.after(c.keyPath(key))})
}

// keys makes a call to the keys API.
func (c *Client) keys(ctx context.Context, what call) (*Response, error) {
	var r Response
	what.into, what.check = &r, r.whole
	header, err := c.do(ctx, what)
	if err != nil {
		return nil, err
	}
	r.Index = indexOf(header)
	r.RaftIndex, r.RaftTerm = number(header, "X-Raft-Index", 10), number(header, "X-Raft-Term", 10)
	r.ClusterID = clusterOf(header)
	return &r, nil
}

// whole says what an answer lacks that each has.
func (r *Response) whole() error {
	if r.Action == "" {
		return errors.New("it does not tell an action")
	}
	for _, n := range []*Node{r.Node, r.PrevNode} {
		if n != nil && n.hasNil() {
			return errors.New("it has a node that is null")
		}
	}
	return nil
}

// hasNil tells whether a node is missing among those below.
func (n *Node) hasNil() bool {
	return slices.ContainsFunc(n.Nodes, func(below *Node) bool { return below == nil || below.hasNil() })
}

// keyPath is the path of a key, with every byte as it is. That of "" has no slash at the end.
func (c *Client) keyPath(key string) string {
	if key == "" {
		return c.config.KeysPath
	}
	parts := strings.Split(strings.TrimPrefix(key, "/"), "/")
	for n, part := range parts {
		parts[n] = url.PathEscape(part)
	}
	return c.config.KeysPath + "/" + strings.Join(parts, "/")
}

// query are the parameters of a request.
type query url.Values

func (q query) text(name, value string) {
	if value != "" {
		q[name] = []string{value}
	}
}

func (q query) flag(name string, set bool) {
	if set {
		q[name] = []string{"true"}
	}
}

func (q query) number(name string, n uint64) {
	if n != 0 {
		q[name] = []string{strconv.FormatUint(n, 10)}
	}
}

func (q query) ttl(d time.Duration) {
	if d != 0 {
		seconds := int64(d / time.Second)
		if d > time.Duration(seconds)*time.Second {
			seconds++
		}
		q["ttl"] = []string{strconv.FormatInt(seconds, 10)}
	}
}

func (q query) encode() string { return url.Values(q).Encode() }

// after puts the query behind a path.
func (q query) after(path string) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.encode()
}
