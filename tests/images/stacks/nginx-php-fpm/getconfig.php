<?php
header('Content-Type: application/json');
readfile('/srv/config.json');
