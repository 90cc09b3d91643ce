package etcdserver

import (
	"crypto/sha1"
	"encoding/binary"
	"slices"
	"strings"
)

// MemberIDOf derives the id of a member that is there from the beginning: its
// peer URLs, sorted, and the cluster's token (B15).
func MemberIDOf(peerURLs []string, token string) ID {
	sorted := slices.Sorted(slices.Values(peerURLs))
	sum := sha1.Sum([]byte(strings.Join(sorted, "") + token))
	return ID(binary.BigEndian.Uint64(sum[:8]))
}

// ClusterIDOf derives the cluster's id from those of its first members (B16).
func ClusterIDOf(members []ID) ID {
	var bytes []byte
	for _, id := range slices.Sorted(slices.Values(members)) {
		bytes = binary.BigEndian.AppendUint64(bytes, uint64(id))
	}
	sum := sha1.Sum(bytes)
	return ID(binary.BigEndian.Uint64(sum[:8]))
}
