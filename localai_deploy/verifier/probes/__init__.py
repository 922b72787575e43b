"""Programs that gather evidence as root on the host itself, which has nothing of this package.

They are sent as text and run by the host's ``python3``: the standard library of Python 3.9 and the
modules of this folder are all they may import. Each has ``gather(request)``: plain data in, plain data out.
"""
