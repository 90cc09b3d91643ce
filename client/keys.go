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
	Expiration    *time.Time `json:"expiration"` // nil: none
	TTL           int64      `json:"ttl"`        // seconds left, by the clock of the member that answered
	ModifiedIndex uint64     `json:"modifiedIndex"`
	CreatedIndex  uint64     `json:"createdIndex"`
	Nodes         []*Node    `json:"nodes"` // children; sorted only if that was requested
}

// A Response is the answer of a server.
type Response struct {
	Action   string // get, set, create, update, delete, compareAndSwap, compareAndDelete or expire
	Node     *Node  // after the change; without a value if it was deleted; nil if Brief was set
	PrevNode *Node  // before the change; nil if there was none

	Index     uint64 // X-Etcd-Index: the number of changes that the member knows; watch after this one
	RaftIndex uint64
	RaftTerm  uint64
	ClusterID uint64
}

// GetOptions tell how to read. The zero value reads what the asked member knows.
type GetOptions struct {
	Recursive bool // with everything below a directory
	Sorted    bool // children by name
	Quorum    bool // linearizable: not older than anything that a client has seen
}

// Get reads a key. A directory comes with its children.
func (c *Client) Get(ctx context.Context, key string, o GetOptions) (*Response, error) {
	q := query{}
	q.flag("recursive", o.Recursive)
	q.flag("sorted", o.Sorted)
	q.flag("quorum", o.Quorum)
	return c.keys(ctx, call{method: http.MethodGet, path: q.after(c.keyPath(key))})
}

// SetOptions tell what to write, and on which conditions. The zero value makes or replaces a file without a TTL.
type SetOptions struct {
	TTL       time.Duration // after which the key is deleted, in whole seconds, rounded up; 0: none
	PrevExist Exist         // whether the key must exist
	PrevValue string        // value that the key must have; "": any
	PrevIndex uint64        // ModifiedIndex that it must have; 0: any
	Dir       bool          // make a directory
	Refresh   bool          // only set the TTL of an existing node, and wake no watcher; the value must be ""
	Brief     bool          // leave both nodes out of the answer
}

// Exist tells whether a key must exist.
type Exist int

// The values of SetOptions.PrevExist.
const (
	Any   Exist = iota // both
	Must               // update: the key must exist
	Never              // create: the key must not exist
)

// Set writes a key, and makes missing parents.
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

// CreateInOrder makes a file in a directory, with a name that is greater than those of all before it.
func (c *Client) CreateInOrder(ctx context.Context, dir, value string, ttl time.Duration) (*Response, error) {
	q := query{}
	q.text("value", value)
	q.ttl(ttl)
	return c.keys(ctx, call{method: http.MethodPost, path: c.keyPath(dir), kind: kindForm, body: q.encode()})
}

// DeleteOptions tell what to delete, and on which conditions. The zero value deletes a file.
type DeleteOptions struct {
	Recursive bool   // a directory with everything below it, or a file
	Dir       bool   // an empty directory, or a file
	PrevValue string // value that the file must have; "": any
	PrevIndex uint64 // ModifiedIndex that it must have; 0: any
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

// whole names what an answer lacks that each must have.
func (r *Response) whole() error {
	if r.Action == "" {
		return errors.New("it has no action")
	}
	for _, n := range []*Node{r.Node, r.PrevNode} {
		if n != nil && n.hasNil() {
			return errors.New("it has a node that is null")
		}
	}
	return nil
}

// hasNil tells whether one of the nodes below is nil.
func (n *Node) hasNil() bool {
	return slices.ContainsFunc(n.Nodes, func(below *Node) bool { return below == nil || below.hasNil() })
}

// keyPath is the path of a key, with each byte unchanged. That of "" has no slash at the end.
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

// after appends the query to a path.
func (q query) after(path string) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.encode()
}
