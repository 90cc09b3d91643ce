// Package wire encodes and decodes what members say to each other: the headers of a handshake, and the frames of a stream.
// Package rafthttp makes the connections.
//
//	frame    | length 4 | crc 4 | kind 1 | payload … |       crc-32c of length, kind and payload
//	append   | length 4 | message | data of the entries … |  other kinds: the message alone; an envelope: its bytes
//
// Numbers are little-endian, length counts the payload's bytes, messages are protobuf (rafthttppb). A frame is valid if
//
//	kind is known,  length <= limit(kind),  crc is that of length, kind and payload
//
// An invalid frame closes its connection, and has no other effect. raft checks whether the fields of a message are
// consistent.
//
// The two sides of a connection exchange a Hello in the headers of HTTP before the first frame, so that all kinds of members
// and tools share the peer port.
package wire

// The versions of the peer protocol that this program speaks. A connection uses the highest one that both sides speak.
const (
	VersionMin = 1
	VersionMax = 1
)

// Malformed tells that a peer sent invalid data. It closes the connection.
type Malformed struct{ What string }

// Error names the fault.
func (e *Malformed) Error() string { return "malformed: " + e.What }
