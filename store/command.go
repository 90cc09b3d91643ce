package store

// Command is one change of the tree. Each operation of the v2 API is a type of its own, and is chosen before the command is
// in the log (K50). EncodeCommand and DecodeCommand make its form in the log.
type Command interface{ command() }

// TTL is a time to live. The zero TTL means none: the node is permanent.
type TTL struct {
	Set     bool   // there is a TTL
	Seconds uint64 // from the log's time when the command is applied; 0: the node expires at once (K81)
}

// Set writes a file or makes a directory, and replaces a file but no directory (K52-K54). With Refresh it changes only the
// TTL of an existing file and wakes no watcher; its event is still a set (K67, K68).
type Set struct {
	Key     Key
	Value   string // ignored with Dir or Refresh
	Dir     bool
	TTL     TTL
	Refresh bool // not with Dir: the API refuses both together (K71)
}

// Create makes a node if there is none (K55).
type Create struct {
	Key   Key
	Value string // ignored with Dir
	Dir   bool
	TTL   TTL
}

// CreateInOrder makes a child of Dir. Its name is the new store index with 20 digits, or the next free number after it (K56).
type CreateInOrder struct {
	Dir   Key // made if there is none
	Value string
	AsDir bool // the child is a directory
	TTL   TTL
}

// Update replaces value and TTL of a file, or the TTL of a directory. It keeps createdIndex (K57-K62). With Refresh it keeps
// the value and wakes no watcher.
type Update struct {
	Key     Key
	Value   string // must be empty for a directory; ignored with Refresh
	TTL     TTL
	Refresh bool
}

// CompareAndSwap updates a file if its value and index are as expected (K63-K66).
type CompareAndSwap struct {
	Key       Key
	Value     string // ignored with Refresh
	TTL       TTL
	Refresh   bool
	PrevValue string // "" is not compared
	PrevIndex Index  // the file's modifiedIndex; 0 is not compared
}

// Delete removes a file, an empty directory (Dir), or a directory and all nodes below it (Recursive) (K72, K73).
type Delete struct {
	Key       Key
	Dir       bool
	Recursive bool // implies Dir
}

// CompareAndDelete removes a file if its value and index are as expected.
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
