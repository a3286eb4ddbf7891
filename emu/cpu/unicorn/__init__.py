"""An engine on Unicorn 2.1.4: the only place that names Unicorn, its constants or its structs."""
