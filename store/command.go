package store

// Command is one thing that can be done to the tree; each operation of the v2 API is a type of its own, chosen before
// the log (K50). EncodeCommand and DecodeCommand carry commands through the log.
type Command interface{ command() }

// TTL is a time to live. The zero TTL means "none": the node is permanent.
type TTL struct {
	Set     bool   // a TTL was given
	Seconds uint64 // from the log's time when the command is applied; 0 is due at once (K81)
}

// Set writes a file or makes a directory, whatever was there before, except over a directory (K52-K54). With Refresh
// it changes nothing but the TTL of an existing file, wakes no watcher, and still acts as a set (K67, K68).
type Set struct {
	Key     Key
	Value   string // ignored with Dir or Refresh
	Dir     bool
	TTL     TTL
	Refresh bool // with Dir it has no meaning: the API refuses the combination (K71)
}

// Create makes a node where none is (K55).
type Create struct {
	Key   Key
	Value string // ignored with Dir
	Dir   bool
	TTL   TTL
}

// CreateInOrder makes a child of Dir whose name is the new store index, zero-padded to 20 digits, or the next free
// number after it (K56).
type CreateInOrder struct {
	Dir   Key // made when it is missing
	Value string
	AsDir bool // the child is a directory
	TTL   TTL
}

// Update replaces value and TTL of a file, or the TTL of a directory, and keeps createdIndex (K57-K62). With Refresh
// the value stays and no watcher wakes.
type Update struct {
	Key     Key
	Value   string // must be empty for a directory; ignored with Refresh
	TTL     TTL
	Refresh bool
}

// CompareAndSwap is an Update of a file that only happens when all conditions given hold (K63-K66).
type CompareAndSwap struct {
	Key       Key
	Value     string // ignored with Refresh
	TTL       TTL
	Refresh   bool
	PrevValue string // "" is not compared
	PrevIndex Index  // the file's modifiedIndex; 0 is not compared
}

// Delete removes a file, an empty directory (Dir), or a directory and all below it (Recursive) (K72, K73).
type Delete struct {
	Key       Key
	Dir       bool
	Recursive bool // implies Dir
}

// CompareAndDelete removes a file when all conditions given hold.
type CompareAndDelete struct {
	Key       Key
	PrevValue string // "" is not compared
	PrevIndex Index  // the file's modifiedIndex; 0 is not compared
}

func (Set) command()              {}
func (Create) command()           {}
func (CreateInOrder) command()    {}
func (Update) command()           {}
func (CompareAndSwap) command()   {}
func (Delete) command()           {}
func (CompareAndDelete) command() {}
