package store

// View is the store as one Publish left it. It is immutable: any number of goroutines may read it, for as long as
// they like, while writes go on.
type View struct {
	root     *node
	index    Index
	clock    clock
	counters counters
	history  history
}

// View returns the view of the last Publish.
func (s *Store) View() *View { return s.view.Load() }

// Index is the store index as of the view (K32).
func (v *View) Index() Index { return v.index }

// Time is the log's time as of the view.
func (v *View) Time() Time { return v.clock.now }

// ReadOptions say how a node is listed. Children always come sorted by name, which is by the bytes of their keys (K39).
type ReadOptions struct {
	Recursive bool // every level, not only the first (K37)
	Sorted    bool // has no effect, as all listings are sorted
	Now       Time // what ttl numbers count from (K82); 0: the view's time
}

// Get finds the node of this key. The error is an *Error with CodeKeyNotFound or CodeNotDir (K40, K41).
func (v *View) Get(k Key, o ReadOptions) (*Listing, error) {
	n, err := find(v.root, k.clean)
	if err != nil {
		err.Index = v.index
		return nil, err
	}
	c := v.clock
	if o.Now != 0 {
		c.now = o.Now
	}
	return &Listing{node: n, key: k.clean, recursive: o.Recursive, clock: c}, nil
}
