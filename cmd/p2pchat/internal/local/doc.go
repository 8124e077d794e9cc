// Package local is how the commands of one person reach that person's node.
//
// One process at a time holds a profile: it has the node, and serves it as HTTP
// over a socket in the profile that only the owner can open. Every command is a
// client of that socket. A [Client] that finds nobody there takes the profile,
// builds the node and serves the socket itself for as long as it runs, so that
// "chat" and "log --follow" are daemons while they last, and there are never two
// writers. When a holder goes away, its clients find the next one, or become it.
//
//	GET  /v1/holder                     who holds the profile     Holder
//	GET  /v1/status                                               Status
//	GET  /v1/groups                                               Group, one a line
//	GET  /v1/group?group=G                                        Group
//	POST /v1/groups    NewGroup                                   Group
//	POST /v1/invite    NewInvite                                  Invite
//	POST /v1/join      Join             waits                     Group
//	POST /v1/nearby    NewNearby        waits                     nearbyFrame, one a line
//	POST /v1/nearby/answer  NearbyAnswer
//	POST /v1/send      NewMessage                                 Sent
//	POST /v1/wait      Wait             waits                     Waited
//	GET  /v1/last?group=G&count=N                                 frame, one a line
//	GET  /v1/follow?group=G&after=C     waits                     frame, one a line
//	GET  /v1/members?group=G                                      Member, one a line
//	GET  /v1/peers                                                Peer, one a line
//	POST /v1/block     Block                                      Person
//	GET  /v1/devices?group=G                                      Device, one a line
//	POST /v1/device/revoke  RevokeDevice                          Act
//	GET  /v1/backup                     waits                     a stream; see node.Backup
//	GET  /v1/export?group=G&for=P&since=T  waits                  a stream; behind it Export
//	POST /v1/import    a stream         waits                     Import
//
// Requests and answers are JSON; the same types are what --json prints. An error
// is a status other than 200 and an [apiError]. What waits is cut off when the
// holder closes, and asked again of the next one; everything else is finished.
package local
