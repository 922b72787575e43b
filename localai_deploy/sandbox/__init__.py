"""The embedded node: an HTTPS server for the part of the Proxmox VE API that the project uses.

From the wire inwards: `http_front` (TLS, forms, faults of the wire), `dispatch` (login, call, privileges,
node, parameters), `tables` (what calls there are), `api` (one module per area), `tasks`, `state`.
`server.Sandbox` holds it all; `body.GuestBody` is what stands behind a VM.
"""
